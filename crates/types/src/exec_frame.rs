//! What goes over the socket of an ECS Exec session, between the control plane (which speaks with the client) and the
//! node (which holds the command): a kind, a length in four bytes, bytes.

/// Longer frames are nobody's.
pub const BYTES_MAX: usize = 64 << 10;
pub const HEAD_BYTES: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To the terminal.
    Input = 0,
    /// Columns and rows, two bytes each.
    Resize = 1,
    /// The session is to end.
    Terminate = 2,
    /// From the terminal.
    Output = 3,
    /// The command's exit code, four bytes.
    Exit = 4,
    /// Why it was not executed.
    Error = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [
            Self::Input,
            Self::Resize,
            Self::Terminate,
            Self::Output,
            Self::Exit,
            Self::Error,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// The peer speaks something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame is malformed")]
pub struct Malformed;

/// A frame as it is sent; longer bytes than [`BYTES_MAX`] are the caller's mistake and are cut.
pub fn encode(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let mut frame = vec![kind as u8];
    frame.extend((bytes.len() as u32).to_be_bytes());
    frame.extend(bytes);
    frame
}

/// Takes the next whole frame off a buffer.
pub fn take(buffer: &mut Vec<u8>) -> Result<Option<(Kind, Vec<u8>)>, Malformed> {
    let [kind, a, b, c, d, ..] = buffer[..] else {
        return Ok(None);
    };
    let kind = Kind::of(kind).ok_or(Malformed)?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > BYTES_MAX {
        return Err(Malformed);
    }
    let end = HEAD_BYTES + length;
    if buffer.len() < end {
        return Ok(None);
    }
    let bytes = buffer[HEAD_BYTES..end].to_vec();
    buffer.drain(..end);
    Ok(Some((kind, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut wire = encode(Kind::Input, b"ls\n");
        wire.extend(encode(Kind::Exit, &7i32.to_be_bytes()));
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for byte in wire {
            buffer.push(byte);
            found.extend(take(&mut buffer).unwrap());
        }
        let expected = [
            (Kind::Input, b"ls\n".to_vec()),
            (Kind::Exit, vec![0, 0, 0, 7]),
        ];
        assert_eq!(found, expected);
        assert_eq!(take(&mut vec![9, 0, 0, 0, 0]), Err(Malformed));
        assert_eq!(take(&mut vec![0, 255, 0, 0, 0]), Err(Malformed));
    }
}
