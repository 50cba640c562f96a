//! A blob on its way out: read on a blocking thread, a few pieces ahead of the client.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

const PIECE_BYTES: usize = 256 << 10;
const PIECES_AHEAD: usize = 4;

/// Part of a file as a body.
pub struct FileBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl FileBody {
    /// Starts reading. Within a tokio runtime.
    pub fn start(mut file: File, range: Range<u64>) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let left = range.end - range.start;
        tokio::task::spawn_blocking(move || {
            let mut left = left;
            let mut failed = file.seek(SeekFrom::Start(range.start)).err();
            while left > 0 || failed.is_some() {
                let piece = match failed.take() {
                    Some(error) => Err(error),
                    None => read_piece(&mut file, left),
                };
                let over = piece.is_err();
                left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
                // A receiver that is gone means a client that is gone.
                if sender.blocking_send(piece).is_err() || over {
                    return;
                }
            }
        });
        Self { pieces, left }
    }
}

fn read_piece(file: &mut File, left: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX))];
    file.read_exact(&mut piece)?;
    Ok(piece.into())
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces.poll_recv(context).map(|piece| {
            piece.map(|piece| {
                piece.map(|piece| {
                    self.left -= piece.len() as u64;
                    Frame::data(piece)
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
