//! A container's output on its way to the log: bytes in, events out, a line each.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::sink::{LINE_LIMIT_BYTES, Sink};
use super::supervise::now_ms;

const READ_BYTES: usize = 64 << 10;

/// One of a container's output streams.
pub struct Output {
    pipe: Option<OwnedFd>,
    partial: Vec<u8>,
}

impl Output {
    /// Makes the pipe: our end, and the container's. Ours doesn't block.
    pub fn make() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)?;
        Ok((
            Self {
                pipe: Some(ours),
                partial: Vec::new(),
            },
            theirs,
        ))
    }

    /// What comes from a terminal's master, which stays open as the terminal's input too.
    pub fn of(master: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self {
            pipe: Some(master),
            partial: Vec::new(),
        })
    }

    /// The pipe while it is open.
    pub fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is there and writes the whole lines of it. At most a few buffers a call, so that one loud container
    /// doesn't keep the shim from its other work.
    pub fn copy(&mut self, log: Option<&mut Sink>) {
        self.take(log, 16);
    }

    /// Reads until nothing is there and writes everything, the unfinished last line too.
    pub fn finish(&mut self, mut log: Option<&mut Sink>) {
        // A pipe holds at most a few buffers, and whoever still writes into it is dead by now.
        self.take(log.as_deref_mut(), 1024);
        self.pipe = None;
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            write_lines(log, std::iter::once(rest.as_slice()));
        }
    }

    fn take(&mut self, mut log: Option<&mut Sink>, buffers: usize) {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..buffers {
            let Some(pipe) = &self.pipe else { return };
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(got) => {
                    self.partial.extend_from_slice(&buffer[..got]);
                    self.flush(log.as_deref_mut());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn flush(&mut self, log: Option<&mut Sink>) {
        let (end, used) = match self.partial.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => (last, last + 1),
            None if self.partial.len() >= LINE_LIMIT_BYTES => {
                (self.partial.len(), self.partial.len())
            }
            None => return,
        };
        write_lines(log, self.partial[..end].split(|byte| *byte == b'\n'));
        self.partial.drain(..used);
    }
}

fn write_lines<'a>(log: Option<&mut Sink>, lines: impl Iterator<Item = &'a [u8]>) {
    if let Some(log) = log {
        log.lines(now_ms(), lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::LogOptions;
    use fogbank_store::log::{Query, Reader, Start};

    fn logged(chunks: &[&[u8]]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Sink::open(folder.path(), &LogOptions::default()).unwrap();
        let (mut output, pipe) = Output::make().unwrap();
        for chunk in chunks {
            // Larger than the pipe: read as we write.
            for part in chunk.chunks(4096) {
                assert_eq!(rustix::io::write(&pipe, part).unwrap(), part.len());
                output.copy(Some(&mut log));
            }
        }
        drop(pipe);
        output.finish(Some(&mut log));
        let page = Reader::open(folder.path())
            .unwrap()
            .read(&Query::from(Start::Head))
            .unwrap();
        page.events
            .into_iter()
            .map(|event| String::from_utf8(event.message).unwrap())
            .collect()
    }

    #[test]
    fn lines_become_events() {
        assert_eq!(
            logged(&[b"one\ntw", b"o\r\n\n", b"unfinished"]),
            ["one", "two", "unfinished"]
        );
    }

    #[test]
    fn a_line_without_end_is_split() {
        let long = vec![b'x'; LINE_LIMIT_BYTES + 10];
        let lengths: Vec<usize> = logged(&[&long, b"\n"]).iter().map(String::len).collect();
        assert_eq!(lengths.iter().sum::<usize>(), long.len());
        assert!(lengths.len() >= 2 && lengths.iter().all(|length| *length <= LINE_LIMIT_BYTES));
    }
}
