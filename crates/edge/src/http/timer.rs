//! One timer for each connection, moved lazily: setting it later costs nothing, because the runtime's timer
//! is only moved when it fires too early. Used by `connection` and `exchange`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub struct Timer {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Timer {
    pub fn new(after: Duration) -> Self {
        let deadline = Instant::now() + after;
        Self {
            sleep: Box::pin(sleep_until(deadline)),
            deadline,
        }
    }

    pub fn set(&mut self, after: Duration) {
        self.deadline = Instant::now() + after;
        if self.deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.deadline);
        }
    }
}
