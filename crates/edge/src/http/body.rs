//! Message bodies: takes the framing off what comes in (RFC 9112, section 6 and 7). Used by `pump`; pure.
//!
//! The decoder is strict, because what it lets through is framed anew and whoever reads it must see the same
//! message: no bare LF or CR, no sign, no blank in a chunk size, no line without an end.

use std::ops::Range;

use thiserror::Error;

/// A chunk's extensions are read over, and may be this long.
const EXTENSION_MAX_BYTES: u32 = 4096;
/// All trailer lines of a body together; they are dropped.
const TRAILER_MAX_BYTES: u32 = 16 * 1024;

/// How the rest of a body comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// This many bytes are still to come; 0 is the end.
    Length(u64),
    Chunked(Chunked),
    /// Responses only: until the connection is closed.
    UntilClose,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunked {
    Size { value: u64, digits: u8 },
    Extension { value: u64, length: u32 },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart { length: u32 },
    Trailer { length: u32 },
    TrailerLf { length: u32 },
    EndLf,
    Done,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    #[error("chunk size {0}")]
    Size(&'static str),
    #[error("chunk extension {0}")]
    Extension(&'static str),
    #[error("chunk data is not followed by CR LF")]
    DataEnd,
    #[error("trailer {0}")]
    Trailer(&'static str),
}

/// What a call of `decode` found: payload, and where undecoded bytes go on.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    pub payload: Range<usize>,
    pub rest: usize,
}

impl Body {
    pub const NONE: Self = Self::Length(0);

    pub fn chunked() -> Self {
        Self::Chunked(Chunked::Size {
            value: 0,
            digits: 0,
        })
    }

    pub fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked::Done))
    }

    /// Takes the framing off `buffer[raw]`. The payload stands together afterwards; bytes past the end of the
    /// body are left alone (they are the next message).
    pub fn decode(&mut self, buffer: &mut [u8], raw: Range<usize>) -> Result<Decoded, BodyError> {
        match self {
            Self::UntilClose => Ok(Decoded {
                payload: raw.clone(),
                rest: raw.end,
            }),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(raw.len());
                *left -= taken as u64;
                let rest = raw.start + taken;
                Ok(Decoded {
                    payload: raw.start..rest,
                    rest,
                })
            }
            Self::Chunked(chunked) => chunked.decode(buffer, raw),
        }
    }
}

impl Chunked {
    fn decode(&mut self, buffer: &mut [u8], raw: Range<usize>) -> Result<Decoded, BodyError> {
        let mut at = raw.start;
        let mut payload: Option<Range<usize>> = None;
        while at < raw.end && *self != Self::Done {
            if let Self::Data { left } = self {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(raw.end - at);
                match &mut payload {
                    None => payload = Some(at..at + taken),
                    Some(found) => {
                        buffer.copy_within(at..at + taken, found.end);
                        found.end += taken;
                    }
                }
                at += taken;
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::DataCr;
                }
            } else {
                self.step(buffer[at])?;
                at += 1;
            }
        }
        Ok(Decoded {
            payload: payload.unwrap_or(at..at),
            rest: at,
        })
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), BodyError> {
        *self = match (&*self, byte) {
            (&Self::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // Fifteen digits are more than anyone sends and can't overflow.
                if digits == 15 {
                    return Err(BodyError::Size("is too long"));
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Self::Size {
                    value: value << 4 | digit,
                    digits: digits + 1,
                }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(BodyError::Size("is missing")),
            (&Self::Size { value, .. }, b'\r') => Self::SizeLf { value },
            (&Self::Size { value, .. }, b';') => Self::Extension { value, length: 0 },
            (Self::Size { .. }, _) => return Err(BodyError::Size("holds a foreign byte")),
            (&Self::Extension { value, .. }, b'\r') => Self::SizeLf { value },
            (&Self::Extension { length, .. }, _) if length == EXTENSION_MAX_BYTES => {
                return Err(BodyError::Extension("is too long"));
            }
            (&Self::Extension { value, length }, b'\t' | b' '..=b'~' | 0x80..) => Self::Extension {
                value,
                length: length + 1,
            },
            (Self::Extension { .. }, _) => {
                return Err(BodyError::Extension("holds a control byte"));
            }
            (Self::SizeLf { value: 0 }, b'\n') => Self::TrailerStart { length: 0 },
            (&Self::SizeLf { value }, b'\n') => Self::Data { left: value },
            (Self::SizeLf { .. }, _) => return Err(BodyError::Size("is not followed by CR LF")),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size {
                value: 0,
                digits: 0,
            },
            (Self::DataCr | Self::DataLf, _) => return Err(BodyError::DataEnd),
            _ => return self.step_trailer(byte),
        };
        Ok(())
    }

    fn step_trailer(&mut self, byte: u8) -> Result<(), BodyError> {
        *self = match (&*self, byte) {
            (Self::TrailerStart { .. }, b'\r') => Self::EndLf,
            (Self::TrailerStart { .. }, b' ' | b'\t' | b':') => {
                return Err(BodyError::Trailer("line does not start with a name"));
            }
            (&Self::Trailer { length }, b'\r') => Self::TrailerLf { length },
            (
                &(Self::TrailerStart { length } | Self::Trailer { length }),
                b'\t' | b' '..=b'~' | 0x80..,
            ) => {
                if length == TRAILER_MAX_BYTES {
                    return Err(BodyError::Trailer("section is too long"));
                }
                Self::Trailer { length: length + 1 }
            }
            (&Self::TrailerLf { length }, b'\n') => Self::TrailerStart { length },
            (Self::EndLf, b'\n') => Self::Done,
            _ => return Err(BodyError::Trailer("holds a control byte")),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes a body that comes in pieces of the given size.
    fn decode(text: &[u8], piece: usize) -> Result<(Vec<u8>, Body, usize), BodyError> {
        let (mut body, mut payload, mut read) = (Body::chunked(), Vec::new(), 0);
        for part in text.chunks(piece.max(1)) {
            let mut buffer = part.to_vec();
            let found = body.decode(&mut buffer, 0..part.len())?;
            payload.extend_from_slice(&buffer[found.payload]);
            read += found.rest;
        }
        Ok((payload, body, read))
    }

    #[test]
    fn chunks_come_out_joined() {
        let text = b"5\r\nhello\r\n6;name=\"v\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nGET /";
        for piece in [1, 2, 3, 7, 100] {
            let (payload, body, read) = decode(text, piece).expect("a valid body");
            assert_eq!(payload, b"hello world");
            assert!(body.is_done());
            assert_eq!(read, text.len() - 5, "the next message is left alone");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhelloo\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"-1\r\n",
            b"\r\n",
            b";a\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5;a\0\r\n",
            b"5\r\rhello",
            b"1000000000000000\r\n",
            b"00000000000000005\r\nhello",
            b"0\r\n X: folded\r\n\r\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\n\rX",
        ] {
            assert!(decode(text, 1).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = [
            b"5;".to_vec(),
            vec![b'a'; EXTENSION_MAX_BYTES as usize + 1],
            b"\r\n".to_vec(),
        ]
        .concat();
        assert_eq!(
            decode(&long, 1000),
            Err(BodyError::Extension("is too long"))
        );
        let long = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(5000)].concat();
        assert_eq!(
            decode(&long, 1000),
            Err(BodyError::Trailer("section is too long"))
        );
    }

    #[test]
    fn a_length_takes_no_more_than_its_own() {
        let mut body = Body::Length(3);
        let mut buffer = *b"xabcdef";
        assert_eq!(
            body.decode(&mut buffer, 1..7),
            Ok(Decoded {
                payload: 1..4,
                rest: 4
            })
        );
        assert!(body.is_done());
    }

    proptest! {
        #[test]
        fn what_was_framed_comes_back(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8), piece in 1usize..50) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let (payload, body, read) = decode(&text, piece).expect("a valid body");
            prop_assert_eq!(payload, chunks.concat());
            prop_assert!(body.is_done());
            prop_assert_eq!(read, text.len());
        }

        #[test]
        fn any_bytes_are_refused_or_read_without_a_panic(text in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
            let _ = decode(&text, piece);
        }

        #[test]
        fn nearly_right_bytes_give_the_same_in_any_pieces(text in "[0-2a;:\r\n ]{0,40}", piece in 1usize..5) {
            let whole = decode(text.as_bytes(), 100).map(|(payload, _, _)| payload);
            let pieces = decode(text.as_bytes(), piece).map(|(payload, _, _)| payload);
            prop_assert_eq!(whole, pieces);
        }
    }
}
