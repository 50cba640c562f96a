//! Read buffers, and the free lists they come from and go back to. Used by `connection`, `pump`, `exchange`.
//!
//! A connection that waits for its next request holds none, so that idle connections cost little.

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use super::lock;
use super::splice::Pipe;

const SMALL_BYTES: usize = 8 * 1024;
/// For bodies: fewer calls into the kernel.
const LARGE_BYTES: usize = 64 * 1024;
/// A head that goes on is rarely longer, and longer memory is not kept.
const HEAD_BYTES: usize = 1024;
const KEPT_HEAD_BYTES: usize = 4 * 1024;
const KEPT_HEADS: usize = 256;
const KEPT_SMALL: usize = 256;
const KEPT_LARGE: usize = 32;
const KEPT_PIPES: usize = 32;

/// Buffers that nobody uses just now.
#[derive(Debug, Default)]
pub struct Buffers {
    small: Mutex<Vec<Vec<u8>>>,
    large: Mutex<Vec<Vec<u8>>>,
    heads: Mutex<Vec<Vec<u8>>>,
    pipes: Mutex<Vec<Pipe>>,
}

impl Buffers {
    fn take_small(&self) -> Vec<u8> {
        lock(&self.small)
            .pop()
            .unwrap_or_else(|| vec![0; SMALL_BYTES])
    }

    fn take_large(&self) -> Vec<u8> {
        lock(&self.large)
            .pop()
            .unwrap_or_else(|| vec![0; LARGE_BYTES])
    }

    /// Empty, to write a head into.
    pub fn take_head(&self) -> Vec<u8> {
        lock(&self.heads)
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES))
    }

    pub fn give_back_head(&self, mut head: Vec<u8>) {
        if !(HEAD_BYTES..=KEPT_HEAD_BYTES).contains(&head.capacity()) {
            return;
        }
        head.clear();
        let mut heads = lock(&self.heads);
        if heads.len() < KEPT_HEADS {
            heads.push(head);
        }
    }

    pub fn take_pipe(&self) -> io::Result<Pipe> {
        match lock(&self.pipes).pop() {
            Some(pipe) => Ok(pipe),
            None => Pipe::new(),
        }
    }

    /// With nothing left in it.
    pub fn give_back_pipe(&self, pipe: Pipe) {
        let mut pipes = lock(&self.pipes);
        if pipes.len() < KEPT_PIPES {
            pipes.push(pipe);
        }
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let (list, kept) = match bytes.len() {
            SMALL_BYTES => (&self.small, KEPT_SMALL),
            LARGE_BYTES => (&self.large, KEPT_LARGE),
            _ => return,
        };
        let mut list = lock(list);
        if list.len() < kept {
            list.push(bytes);
        }
    }
}

/// Bytes that came in and have not been used up. Without memory until something is to be read.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    filled: Range<usize>,
}

impl Buffer {
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.filled.clone()]
    }

    pub fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// The whole memory and the filled part of it, for decoding in place.
    pub fn parts(&mut self) -> (&mut [u8], Range<usize>) {
        (&mut self.bytes, self.filled.clone())
    }

    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    pub fn consume(&mut self, count: usize) {
        self.filled.start += count;
    }

    /// Room to read into: after what is there, moved to the front if it must be.
    pub fn room(&mut self, buffers: &Buffers) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = buffers.take_small();
        }
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.end == self.bytes.len() && self.filled.start > 0 {
            self.bytes.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        &mut self.bytes[self.filled.end..]
    }

    /// The same, and grows when it is full; whoever calls has checked the limit.
    pub fn room_to_grow(&mut self, buffers: &Buffers) -> &mut [u8] {
        if self.room(buffers).is_empty() {
            let size = self.bytes.len() * 2;
            self.bytes.resize(size, 0);
        }
        &mut self.bytes[self.filled.end..]
    }

    pub fn grew_by(&mut self, count: usize) {
        self.filled.end += count;
    }

    /// Takes a large memory for an empty buffer.
    pub fn enlarge(&mut self, buffers: &Buffers) {
        if self.is_empty() && self.bytes.len() < LARGE_BYTES {
            buffers.give_back(std::mem::take(&mut self.bytes));
            self.bytes = buffers.take_large();
            self.filled = 0..0;
        }
    }

    /// Gives memory back when there is nothing in it, and large memory for small when little is.
    pub fn release(&mut self, buffers: &Buffers) {
        if self.is_empty() {
            self.filled = 0..0;
            buffers.give_back(std::mem::take(&mut self.bytes));
        } else if self.bytes.len() > SMALL_BYTES && self.filled.len() <= SMALL_BYTES {
            let mut small = buffers.take_small();
            small[..self.filled.len()].copy_from_slice(&self.bytes[self.filled.clone()]);
            self.filled = 0..self.filled.len();
            buffers.give_back(std::mem::replace(&mut self.bytes, small));
        }
    }
}
