//! WebSocket frames (RFC 6455): bytes to messages and back, for either side. Pure: whoever has the socket feeds it.
//!
//! Used by control (the data channel of ECS Exec) and by `fogbank exec`. What must stay true: no peer makes us hold more
//! than one message of at most [`MESSAGE_BYTES_MAX`]; what the RFC forbids ends the connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Far above what a data channel's message holds.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Of control frames (section 5.5).
const CONTROL_BYTES_MAX: usize = 125;
/// Section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a peer sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close,
}

/// Why a connection can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame is not what RFC 6455 allows")]
    Malformed,
    #[error("a message is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
}

/// Which side one is on: a client's frames are masked, a server's are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// The answer to `Sec-WebSocket-Key`.
pub fn accept_key(key: &str) -> String {
    let digest = ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    STANDARD.encode(digest.as_ref())
}

/// One frame that holds the whole message; a client gives a mask.
pub fn encode(message: &Message, mask: Option<[u8; 4]>) -> Vec<u8> {
    let (opcode, payload): (u8, &[u8]) = match message {
        Message::Text(bytes) => (1, bytes),
        Message::Binary(bytes) => (2, bytes),
        Message::Close => (8, &[]),
        Message::Ping(bytes) => (9, bytes),
        Message::Pong(bytes) => (10, bytes),
    };
    let mut frame = vec![0x80 | opcode];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => frame.push(masked | length as u8),
        length @ 126..=0xffff => {
            frame.push(masked | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    match mask {
        Some(mask) => {
            frame.extend(mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        }
        None => frame.extend(payload),
    }
    frame
}

/// What came and is no message yet.
pub struct Decoder {
    side: Side,
    buffer: Vec<u8>,
    /// Opcode and bytes of a message whose last frame is still to come.
    partial: Option<(u8, Vec<u8>)>,
}

impl Decoder {
    /// For what the peer of that side sends to it.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            buffer: Vec::new(),
            partial: None,
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub fn take(&mut self) -> Result<Option<Message>, FrameError> {
        while let Some((first, payload)) = self.frame()? {
            let (is_last, opcode) = (first & 0x80 != 0, first & 0x0f);
            match (opcode, self.partial.take()) {
                (8..=10, partial) => {
                    self.partial = partial;
                    if !is_last || payload.len() > CONTROL_BYTES_MAX {
                        return Err(FrameError::Malformed);
                    }
                    return Ok(Some(match opcode {
                        8 => Message::Close,
                        9 => Message::Ping(payload),
                        _ => Message::Pong(payload),
                    }));
                }
                (1 | 2, None) => self.partial = Some((opcode, payload)),
                (0, Some((opcode, mut bytes))) => {
                    if bytes.len() + payload.len() > MESSAGE_BYTES_MAX {
                        return Err(FrameError::TooLong);
                    }
                    bytes.extend(payload);
                    self.partial = Some((opcode, bytes));
                }
                _ => return Err(FrameError::Malformed),
            }
            if is_last && let Some((opcode, bytes)) = self.partial.take() {
                return Ok(Some(match opcode {
                    1 => Message::Text(bytes),
                    _ => Message::Binary(bytes),
                }));
            }
        }
        Ok(None)
    }

    /// A frame's first byte and its payload, unmasked.
    fn frame(&mut self) -> Result<Option<(u8, Vec<u8>)>, FrameError> {
        let [first, second, ..] = self.buffer[..] else {
            return Ok(None);
        };
        let is_masked = second & 0x80 != 0;
        // Extensions are never agreed upon (section 5.2); a server is masked to, a client is not (section 5.1).
        if first & 0x70 != 0 || is_masked != (self.side == Side::Server) {
            return Err(FrameError::Malformed);
        }
        let (head, length) = match second & 0x7f {
            126 => match self.buffer.get(2..4) {
                Some(bytes) => (4, u64::from(u16::from_be_bytes([bytes[0], bytes[1]]))),
                None => return Ok(None),
            },
            127 => match self.buffer.get(2..10).and_then(|b| b.try_into().ok()) {
                Some(bytes) => (10, u64::from_be_bytes(bytes)),
                None => return Ok(None),
            },
            length => (2, u64::from(length)),
        };
        if length > MESSAGE_BYTES_MAX as u64 {
            return Err(FrameError::TooLong);
        }
        let start = head + if is_masked { 4 } else { 0 };
        let end = start + length as usize;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let mut payload = self.buffer[start..end].to_vec();
        if is_masked {
            for (byte, place) in payload.iter_mut().zip((0..4).cycle()) {
                *byte ^= self.buffer[head + place];
            }
        }
        self.buffer.drain(..end);
        Ok(Some((first, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_the_rfcs() {
        let key = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_rfcs_examples_are_read() {
        // Section 5.7: a masked "Hello" in one frame; "Hel" and "lo" unmasked.
        let mut server = Decoder::new(Side::Server);
        server.feed(&[
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ]);
        assert_eq!(server.take(), Ok(Some(Message::Text(b"Hello".to_vec()))));
        let mut client = Decoder::new(Side::Client);
        client.feed(&[0x01, 0x03, b'H', b'e', b'l', 0x89, 0x00, 0x80, 0x02]);
        assert_eq!(client.take(), Ok(Some(Message::Ping(Vec::new()))));
        assert_eq!(client.take(), Ok(None));
        client.feed(b"lo");
        assert_eq!(client.take(), Ok(Some(Message::Text(b"Hello".to_vec()))));
    }

    #[test]
    fn every_length_goes_there_and_back_a_byte_at_a_time() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            for (side, mask) in [(Side::Client, None), (Side::Server, Some([1, 2, 3, 4]))] {
                let message = Message::Binary(vec![0xa5; length]);
                let mut decoder = Decoder::new(side);
                let frame = encode(&message, mask);
                let (last, rest) = frame.split_last().unwrap();
                for part in rest.chunks(1.max(length / 7)) {
                    decoder.feed(part);
                    assert_eq!(decoder.take(), Ok(None));
                }
                decoder.feed(&[*last]);
                assert_eq!(decoder.take(), Ok(Some(message)));
            }
        }
    }

    #[test]
    fn what_the_rfc_forbids_ends_the_connection() {
        for bad in [
            &[0x82, 0x01, 0][..],      // not masked
            &[0xc2, 0x80, 0, 0, 0, 0], // an extension's bit
            &[0x80, 0x80, 0, 0, 0, 0], // goes on with nothing
            &[0x09, 0x80, 0, 0, 0, 0], // a ping in parts
            &[0x83, 0x80, 0, 0, 0, 0], // an unknown opcode
        ] {
            let mut decoder = Decoder::new(Side::Server);
            decoder.feed(bad);
            assert_eq!(decoder.take(), Err(FrameError::Malformed), "{bad:?}");
        }
        let mut decoder = Decoder::new(Side::Server);
        decoder.feed(&[0x82, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0]);
        assert_eq!(decoder.take(), Err(FrameError::TooLong));
    }
}
