//! Layers packed with Zstandard (RFC 8878): frames one after the other, skippable ones among them, as containerd, BuildKit
//! and Podman (`zstd:chunked`) write them.
//!
//! What must stay true: memory is bounded; the decoder refuses windows of more than 100 MiB.

use std::io::{self, Chain, Cursor, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// The magic numbers of skippable frames, but for the last digit.
const SKIPPABLE: u32 = 0x184D_2A50;

/// Reads the content of all frames.
pub struct Frames<R: Read> {
    state: State<R>,
}

/// The magic number that was read ahead, and what follows.
type Source<R> = Chain<Cursor<[u8; 4]>, R>;

enum State<R: Read> {
    Between(R),
    Within(Box<StreamingDecoder<Source<R>, FrameDecoder>>),
    Ended,
}

impl<R: Read> Frames<R> {
    pub fn new(source: R) -> Self {
        Self {
            state: State::Between(source),
        }
    }

    /// Opens the next frame with content, if there is one.
    fn open(mut source: R) -> io::Result<State<R>> {
        loop {
            let mut magic = [0; 4];
            if source.read(&mut magic[..1])? == 0 {
                return Ok(State::Ended);
            }
            source.read_exact(&mut magic[1..])?;
            if u32::from_le_bytes(magic) & 0xFFFF_FFF0 != SKIPPABLE {
                let decoder = StreamingDecoder::new(Cursor::new(magic).chain(source));
                let decoder = decoder.map_err(io::Error::other)?;
                return Ok(State::Within(Box::new(decoder)));
            }
            let mut length = [0; 4];
            source.read_exact(&mut length)?;
            let length = u64::from(u32::from_le_bytes(length));
            if io::copy(&mut source.by_ref().take(length), &mut io::sink())? < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Between(source) => Self::open(source)?,
                State::Within(mut decoder) => match decoder.read(buffer)? {
                    0 => State::Between(decoder.into_inner().into_inner().1),
                    count => {
                        self.state = State::Within(decoder);
                        return Ok(count);
                    }
                },
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn frame(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Frames::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn frames_follow_each_other_and_some_are_passed_over() {
        let skippable = [
            &0x184D_2A5A_u32.to_le_bytes()[..],
            &3_u32.to_le_bytes(),
            b"xyz",
        ]
        .concat();
        let bytes = [frame(b"one "), skippable.clone(), frame(b"two"), skippable].concat();
        assert_eq!(read(&bytes).unwrap(), b"one two");
        assert_eq!(read(&[]).unwrap(), b"");
    }

    #[test]
    fn what_breaks_off_is_an_error() {
        let whole = frame(&[7; 100_000]);
        for end in [1, 3, 5, whole.len() - 1] {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
        let skippable = [&SKIPPABLE.to_le_bytes()[..], &9_u32.to_le_bytes(), b"xyz"].concat();
        assert!(read(&skippable).is_err());
        assert!(read(b"no zstd at all").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let _ = read(&bytes);
            let mut damaged = frame(b"some content, some content, some content");
            let at = at.index(damaged.len());
            damaged[at] ^= bytes.first().copied().unwrap_or(1);
            let _ = read(&damaged);
        }
    }
}
