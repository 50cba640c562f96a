//! Domain names as the protocol carries them: labels with their lengths, lower case, ending in the root.
//!
//! Used by every part of `dns`. What must stay true: a `Name` holds at most 255 octets, labels of 1 to 63
//! and no upper case, so equal names have equal bytes, and a suffix of the bytes at a label is a name too.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Longest name on the wire, the root included (RFC 1035, section 2.3.4).
pub const MAX_NAME_BYTES: usize = 255;
const MAX_LABEL_BYTES: usize = 63;
/// Pointers followed in one name: no more than it can have labels. Without a bound each record of a large message could
/// point at the same chain of thousands.
const MAX_POINTERS: usize = 127;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("'{text}' has an empty label")]
    EmptyLabel { text: String },
    #[error("'{text}' has a label of more than 63 octets")]
    LongLabel { text: String },
    #[error("'{text}' has more than 255 octets")]
    TooLong { text: String },
    #[error("'{text}' has an escape that is no octal code")]
    Escape { text: String },
}

/// A fully qualified domain name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// From Route 53's notation: labels with dots, `\ooo` octal, the last dot optional.
    /// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DomainNameFormat.html>
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::with_capacity(MAX_LABEL_BYTES);
        let mut bytes = text.bytes().peekable();
        if text == "." {
            bytes.next();
        }
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => push_label(text, &mut wire, &mut label)?,
                b'\\' => label.push(unescape(&mut bytes).ok_or_else(|| NameError::Escape {
                    text: text.to_owned(),
                })?),
                other => label.push(other),
            }
        }
        if !label.is_empty() {
            push_label(text, &mut wire, &mut label)?;
        }
        wire.push(0);
        if wire.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong {
                text: text.to_owned(),
            });
        }
        Ok(Self::lower(&wire))
    }

    /// The name at the start of `bytes`, without compression, and its length there.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut end = 0;
        loop {
            let length = usize::from(*bytes.get(end)?);
            if length > MAX_LABEL_BYTES || end + length + 1 > MAX_NAME_BYTES {
                return None;
            }
            end += length + 1;
            if length == 0 {
                return Some((Self::lower(bytes.get(..end)?), end));
            }
        }
    }

    /// The name at `start` of a message, compressed or not, and where what follows it begins.
    pub fn read_compressed(message: &[u8], start: usize) -> Option<(Self, usize)> {
        let mut wire = Vec::with_capacity(64);
        let mut at = start;
        let mut after = None;
        let mut pointers = 0;
        loop {
            let length = usize::from(*message.get(at)?);
            match length {
                0 => {
                    wire.push(0);
                    let after = after.unwrap_or(at + 1);
                    return (wire.len() <= MAX_NAME_BYTES).then(|| (Self::lower(&wire), after));
                }
                1..=MAX_LABEL_BYTES => {
                    wire.extend_from_slice(message.get(at..at + length + 1)?);
                    at += length + 1;
                }
                0xc0.. => {
                    let target = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                    after.get_or_insert(at + 2);
                    pointers += 1;
                    // Backwards only, and never without an end.
                    if target >= at || pointers > MAX_POINTERS {
                        return None;
                    }
                    at = target;
                }
                _ => return None,
            }
            if wire.len() >= MAX_NAME_BYTES {
                return None;
            }
        }
    }

    fn lower(wire: &[u8]) -> Self {
        Self(wire.to_ascii_lowercase().into())
    }

    pub fn root() -> Self {
        Self(Arc::from([0u8]))
    }

    /// The bytes on the wire.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The name itself and its parents, the root last.
    pub fn suffixes(&self) -> Suffixes<'_> {
        Suffixes(Some(&self.0))
    }

    /// Labels from the left, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.suffixes()
            .take_while(|suffix| suffix.len() > 1)
            .map(|suffix| &suffix[1..=usize::from(suffix[0])])
    }

    /// Whether the name is `other` or stands below it.
    pub fn is_within(&self, other: &[u8]) -> bool {
        self.suffixes().any(|suffix| suffix == other)
    }

    /// The name without its first label.
    pub fn parent(&self) -> Option<Self> {
        self.suffixes().nth(1).map(|wire| Self(wire.into()))
    }

    /// The name with that label in front; `None` if it grows too long.
    pub fn child(label: &[u8], parent: &[u8]) -> Option<Self> {
        if label.is_empty() || label.len() > MAX_LABEL_BYTES {
            return None;
        }
        let mut wire = Vec::with_capacity(label.len() + 1 + parent.len());
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend_from_slice(label);
        wire.extend_from_slice(parent);
        (wire.len() <= MAX_NAME_BYTES).then(|| Self::lower(&wire))
    }
}

fn push_label(text: &str, wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), NameError> {
    let text = || text.to_owned();
    match label.len() {
        0 => Err(NameError::EmptyLabel { text: text() }),
        length @ 1..=MAX_LABEL_BYTES => {
            wire.push(length as u8);
            wire.append(label);
            Ok(())
        }
        _ => Err(NameError::LongLabel { text: text() }),
    }
}

/// What follows a backslash: three octal digits, or a character that stands for itself.
pub fn unescape(bytes: &mut std::iter::Peekable<impl Iterator<Item = u8> + Clone>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut code = u32::from(first).checked_sub(u32::from(b'0'))?;
    for _ in 0..2 {
        code = code * 8 + char::from(bytes.next()?).to_digit(8)?;
    }
    (first < b'8').then(|| u8::try_from(code).ok()).flatten()
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// In Route 53's notation, with the last dot.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => write!(f, "{}", char::from(byte))?,
                    other => write!(f, "\\{other:03o}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// See [`Name::suffixes`].
#[derive(Clone)]
pub struct Suffixes<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Suffixes<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let wire = self.0?;
        let length = usize::from(wire[0]);
        self.0 = (length > 0).then(|| &wire[length + 1..]);
        Some(wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn case_and_the_last_dot_do_not_matter() {
        assert_eq!(name("API.Example.test"), name("api.example.test."));
        assert_eq!(name("a.b").wire(), b"\x01a\x01b\0");
    }

    #[test]
    fn escapes_are_octal_as_route_53_writes_them() {
        assert_eq!(name("\\052.example.test"), name("*.example.test"));
        assert_eq!(name("*.a").to_string(), "\\052.a.");
        assert!(Name::parse("\\05.a").is_err());
        assert!(Name::parse("\\999.a").is_err());
        assert!(Name::parse("\\777.a").is_err());
        assert!(Name::parse("a\\").is_err());
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(Name::parse(&"a".repeat(63)).is_ok());
        assert!(matches!(
            Name::parse(&"a".repeat(64)),
            Err(NameError::LongLabel { .. })
        ));
        assert!(Name::parse("a..b").is_err());
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61));
        assert_eq!(name(&longest).wire().len(), 255);
        assert!(matches!(
            Name::parse(&format!("{longest}a")),
            Err(NameError::TooLong { .. })
        ));
    }

    #[test]
    fn parents_follow_to_the_root() {
        let name = name("a.b.c");
        let all: Vec<_> = name.suffixes().map(<[u8]>::to_vec).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(all[3], b"\0");
        assert!(name.is_within(b"\x01c\0"));
        assert!(!name.is_within(b"\x01b\0"));
    }

    #[test]
    fn compression_points_backwards_only() {
        let message = b"\x01a\0\x01b\xc0\x00\xc0\x08";
        let (read, after) = Name::read_compressed(message, 3).unwrap();
        assert_eq!((read, after), (name("b.a"), 7));
        assert!(
            Name::read_compressed(message, 7).is_none(),
            "a forward pointer"
        );
        assert!(Name::read_compressed(b"\xc0\x00", 0).is_none());
        assert!(Name::read_compressed(b"\x05ab", 0).is_none());
    }

    #[test]
    fn a_chain_of_pointers_has_an_end() {
        let chain = |pointers: u16| {
            let mut message = b"\x01a\0".to_vec();
            for n in 0..pointers {
                let target = if n == 0 { 0 } else { 1 + 2 * n };
                message.extend((0xc000 | target).to_be_bytes());
            }
            Name::read_compressed(&message, message.len() - 2)
        };
        assert_eq!(chain(100).map(|(read, _)| read), Some(name("a")));
        assert!(chain(5000).is_none());
    }
}
