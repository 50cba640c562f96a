//! The client's half of a stream on the way back: a head, then a body as the client has room for it. Used by
//! `forward`, `relay` and `stream`.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, Response, StatusCode};

/// A client that takes less than this in its idle time is stalled, however often it opens its window by a byte.
const STEP_MIN_BYTES: usize = 256;

/// The client reset the stream, or its connection is gone.
#[derive(Debug)]
pub struct ClientLeft;

#[derive(Debug)]
pub struct Download {
    state: State,
    /// Of the body.
    pub sent_bytes: u64,
}

#[derive(Debug)]
enum State {
    Waiting(SendResponse<Bytes>),
    Body {
        stream: SendStream<Bytes>,
        /// Taken since the last progress that counted.
        step: usize,
    },
    Done,
}

impl Download {
    pub fn of(respond: SendResponse<Bytes>) -> Self {
        Self {
            state: State::Waiting(respond),
            sent_bytes: 0,
        }
    }

    /// Ready when the client has no use for the answer any more.
    pub fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Waiting(respond) => respond.poll_reset(cx).map(drop),
            State::Body { stream, .. } => stream.poll_reset(cx).map(drop),
            State::Done => Poll::Pending,
        }
    }

    /// Sends 100 Continue.
    pub fn go_on(&mut self) {
        if let State::Waiting(respond) = &mut self.state {
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::CONTINUE;
            // Fails only when the stream is gone, which the next look at it tells.
            let _ = respond.send_informational(head);
        }
    }

    pub fn begin(&mut self, head: Response<()>, ends: bool) -> Result<(), ClientLeft> {
        let State::Waiting(respond) = &mut self.state else {
            return Err(ClientLeft);
        };
        let stream = respond.send_response(head, ends).map_err(|_| ClientLeft)?;
        self.state = if ends {
            State::Done
        } else {
            State::Body { stream, step: 0 }
        };
        Ok(())
    }

    /// How many bytes the client takes now, at most `wanted`.
    pub fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<Result<usize, ClientLeft>> {
        let State::Body { stream, .. } = &mut self.state else {
            return Poll::Ready(Err(ClientLeft));
        };
        stream.reserve_capacity(wanted);
        loop {
            match stream.capacity() {
                0 => match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(ClientLeft)),
                },
                room => return Poll::Ready(Ok(room.min(wanted))),
            }
        }
    }

    /// Sends what `poll_room` had room for. `progress` is set when it was worth a word.
    pub fn send(&mut self, data: Bytes, ends: bool, progress: &mut bool) -> Result<(), ClientLeft> {
        let State::Body { stream, step } = &mut self.state else {
            return Err(ClientLeft);
        };
        self.sent_bytes += data.len() as u64;
        *step += data.len();
        if *step >= STEP_MIN_BYTES || ends {
            *step = 0;
            *progress = true;
        }
        stream.send_data(data, ends).map_err(|_| ClientLeft)?;
        if ends {
            self.state = State::Done;
        }
        Ok(())
    }

    /// Ends the body, if that was not told with its last piece.
    pub fn finish(&mut self) -> Result<(), ClientLeft> {
        match &mut self.state {
            State::Done => Ok(()),
            _ => self.send(Bytes::new(), true, &mut false),
        }
    }

    /// All that came was sent on: the client is not who is slow.
    pub fn caught_up(&mut self) {
        if let State::Body { step, .. } = &mut self.state {
            *step = 0;
        }
    }

    pub fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), ClientLeft> {
        let State::Body { stream, .. } = &mut self.state else {
            return Err(ClientLeft);
        };
        stream.send_trailers(trailers).map_err(|_| ClientLeft)?;
        self.state = State::Done;
        Ok(())
    }

    pub fn reset(&mut self, reason: Reason) {
        match &mut self.state {
            State::Waiting(respond) => respond.send_reset(reason),
            State::Body { stream, .. } => stream.send_reset(reason),
            State::Done => {}
        }
    }
}
