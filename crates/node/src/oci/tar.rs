//! Reads tar streams: ustar, GNU long names and POSIX (pax) extended headers, as image layers and saved images use them.
//!
//! Our own reader rather than a crate's because a layer is hostile input: nothing here allocates by a size that the
//! stream claims, and what isn't understood (sparse files, multi-volume archives) is an error, never skipped silently.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// An extended header (a long name, extended attributes) may not be larger than this.
const EXTENSION_LIMIT_BYTES: u64 = 1 << 20;

/// Why a stream is not a readable archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    #[error("read the archive")]
    Read(#[source] io::Error),
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    #[error("an archive header has a wrong checksum")]
    Checksum,
    #[error("an archive header has a malformed {0}")]
    Field(&'static str),
    #[error("archive entry type {0:?} is not supported")]
    Kind(char),
    #[error("an extended archive header of {0} bytes is too large")]
    ExtensionTooLarge(u64),
}

type Result<T> = std::result::Result<T, TarError>;

/// What an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Folder,
    Fifo,
}

/// One entry's header. Names are bytes, as on Linux.
#[derive(Clone, Debug)]
pub struct Entry {
    pub kind: Kind,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified_s: i64,
    pub size: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Settings of extended headers that wait for the entry they belong to.
#[derive(Clone, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified_s: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive being read.
pub struct Archive<R> {
    source: R,
    /// Content of the current entry not yet read, and the padding after it.
    remaining: u64,
    padding: u64,
    global: Extension,
}

impl<R: Read> Archive<R> {
    pub fn new(source: R) -> Self {
        Self {
            source,
            remaining: 0,
            padding: 0,
            global: Extension::default(),
        }
    }

    /// The source, wherever reading has come to.
    pub fn into_source(self) -> R {
        self.source
    }

    /// The content of the entry that [`Archive::next_entry`] gave last.
    pub fn content(&mut self) -> Content<'_, R> {
        Content { archive: self }
    }

    /// Skips what is left of the current entry and gives the next one, or `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut extension = self.global.clone();
        loop {
            self.skip()?;
            let mut header = [0; BLOCK];
            match self.fill(&mut header)? {
                0 => return Ok(None),
                BLOCK => {}
                _ => return Err(TarError::Truncated),
            }
            if header.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            check_sum(&header)?;
            let size = number(&header[124..136], "size")?;
            match header[156] {
                b'x' => pax(&self.extension(size)?, &mut extension)?,
                b'g' => {
                    let bytes = self.extension(size)?;
                    pax(&bytes, &mut self.global)?;
                    pax(&bytes, &mut extension)?;
                }
                b'L' => extension.path = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => extension.link = Some(until_nul(&self.extension(size)?).to_vec()),
                _ => {
                    let entry = entry(&header, size, extension)?;
                    let carries = if entry.kind == Kind::File {
                        entry.size
                    } else {
                        0
                    };
                    self.expect_content(carries)?;
                    return Ok(Some(entry));
                }
            }
        }
    }

    fn expect_content(&mut self, size: u64) -> Result<()> {
        let padded = size
            .checked_next_multiple_of(BLOCK as u64)
            .ok_or(TarError::Field("size"))?;
        (self.remaining, self.padding) = (size, padded - size);
        Ok(())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENSION_LIMIT_BYTES {
            return Err(TarError::ExtensionTooLarge(size));
        }
        self.expect_content(size)?;
        let mut bytes = Vec::new();
        self.content()
            .read_to_end(&mut bytes)
            .map_err(TarError::Read)?;
        Ok(bytes)
    }

    fn skip(&mut self) -> Result<()> {
        let mut left = self.remaining + self.padding;
        let mut scratch = [0; 8192];
        while left > 0 {
            let want = scratch
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = self.fill(&mut scratch[..want])?;
            if got != want {
                return Err(TarError::Truncated);
            }
            left -= got as u64;
        }
        (self.remaining, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads until the buffer is full or the source ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut have = 0;
        while have < buffer.len() {
            match self.source.read(&mut buffer[have..]) {
                Ok(0) => break,
                Ok(got) => have += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        Ok(have)
    }
}

/// Reader of one entry's content.
pub struct Content<'a, R> {
    archive: &'a mut Archive<R>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.archive.remaining).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        if want == 0 {
            return Ok(0);
        }
        let got = self.archive.source.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                TarError::Truncated,
            ));
        }
        self.archive.remaining -= got as u64;
        Ok(got)
    }
}

fn entry(header: &[u8; BLOCK], size: u64, extension: Extension) -> Result<Entry> {
    let path = extension.path.unwrap_or_else(|| name(header));
    let kind = match header[156] {
        // Archives older than ustar mark a folder by a trailing slash alone.
        b'\0' | b'0' if path.ends_with(b"/") => Kind::Folder,
        b'\0' | b'0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharacterDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Folder,
        b'6' => Kind::Fifo,
        other => return Err(TarError::Kind(char::from(other))),
    };
    let id = |given: Option<u64>, field: &[u8], what| -> Result<u32> {
        let value = match given {
            Some(value) => value,
            None => number(field, what)?,
        };
        // The last id means "leave it" to chown and never names anyone.
        u32::try_from(value)
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or(TarError::Field(what))
    };
    Ok(Entry {
        kind,
        link: extension
            .link
            .unwrap_or_else(|| until_nul(&header[157..257]).to_vec()),
        mode: (number(&header[100..108], "mode")? & 0o7777) as u32,
        uid: id(extension.uid, &header[108..116], "owner")?,
        gid: id(extension.gid, &header[116..124], "group")?,
        modified_s: match extension.modified_s {
            Some(time) => time,
            None => i64::try_from(number(&header[136..148], "time")?)
                .map_err(|_| TarError::Field("time"))?,
        },
        size: extension.size.unwrap_or(size),
        xattrs: extension.xattrs,
        path,
    })
}

fn name(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = until_nul(&header[345..500]);
    // Only POSIX ustar has a prefix there; GNU's own format keeps times in those bytes.
    if &header[257..263] == b"ustar\0" && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

fn check_sum(header: &[u8; BLOCK]) -> Result<()> {
    let expected = number(&header[148..156], "checksum")?;
    let sum = |of: fn(u8) -> i64| -> i64 {
        header
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                if (148..156).contains(&at) {
                    32
                } else {
                    of(*byte)
                }
            })
            .sum()
    };
    // Some old writers summed signed bytes.
    let matches = |sum: i64| u64::try_from(sum) == Ok(expected);
    if matches(sum(i64::from)) || matches(sum(|byte| i64::from(byte.cast_signed()))) {
        return Ok(());
    }
    Err(TarError::Checksum)
}

/// An octal number in text, or GNU's big-endian form marked by the top bit (negative ones are refused).
fn number(field: &[u8], what: &'static str) -> Result<u64> {
    let bad = TarError::Field(what);
    if field[0] & 0x80 != 0 {
        if field[0] != 0x80 {
            return Err(bad);
        }
        let (high, low) =
            field[1..].split_at(field.len() - 1 - field.len().saturating_sub(1).min(8));
        if high.iter().any(|byte| *byte != 0) {
            return Err(bad);
        }
        return Ok(low
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)));
    }
    let text = until_nul(field).trim_ascii();
    text.iter()
        .try_fold(0_u64, |value, digit| match digit {
            b'0'..=b'7' => value
                .checked_mul(8)
                .map(|value| value + u64::from(digit - b'0')),
            _ => None,
        })
        .ok_or(bad)
}

/// Records of the form `<length> <key>=<value>\n`. An entry may have many extended headers before it, and a global one
/// counts for all that follow: together their attributes are held to what a single header may have.
fn pax(bytes: &[u8], into: &mut Extension) -> Result<()> {
    pax_records(bytes, into)?;
    let held: u64 = into
        .xattrs
        .iter()
        .map(|(name, value)| (name.len() + value.len()) as u64)
        .sum();
    if held > EXTENSION_LIMIT_BYTES {
        return Err(TarError::ExtensionTooLarge(held));
    }
    Ok(())
}

fn pax_records(mut bytes: &[u8], into: &mut Extension) -> Result<()> {
    const BAD: TarError = TarError::Field("extended header");
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes
            .iter()
            .take(20)
            .position(|byte| *byte == b' ')
            .ok_or(BAD)?;
        let length = decimal(&bytes[..space])
            .and_then(|length| usize::try_from(length).ok())
            .ok_or(BAD)?;
        if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(BAD);
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        setting(key, value, into)?;
        bytes = &bytes[length..];
    }
    Ok(())
}

fn setting(key: &[u8], value: &[u8], into: &mut Extension) -> Result<()> {
    const BAD: TarError = TarError::Field("extended header");
    match key {
        b"path" => into.path = Some(value.to_vec()),
        b"linkpath" => into.link = Some(value.to_vec()),
        b"size" => into.size = Some(decimal(value).ok_or(BAD)?),
        b"uid" => into.uid = Some(decimal(value).ok_or(BAD)?),
        b"gid" => into.gid = Some(decimal(value).ok_or(BAD)?),
        b"mtime" => {
            let whole = value.split(|byte| *byte == b'.').next().unwrap_or(value);
            let (sign, digits) = whole
                .strip_prefix(b"-")
                .map_or((1, whole), |digits| (-1, digits));
            let seconds = decimal(digits)
                .and_then(|seconds| i64::try_from(seconds).ok())
                .ok_or(BAD)?;
            into.modified_s = Some(sign * seconds);
        }
        _ if key.starts_with(b"GNU.sparse.") => return Err(TarError::Kind('S')),
        _ => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                into.xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
    }
    Ok(())
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()
}

#[cfg(test)]
pub(crate) mod build {
    //! Writes archives for tests, hostile ones too.

    /// A header and its content.
    pub fn entry(kind: u8, path: &str, link: &str, mode: u32, content: &[u8]) -> Vec<u8> {
        let mut header = [0_u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        let mut put =
            |at: usize, text: String| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(100, format!("{mode:07o}\0"));
        put(108, "0000000\x000000000\x00".to_owned());
        put(124, format!("{:011o}\0", content.len()));
        put(136, format!("{:011o}\0", 1_000_000));
        put(257, "ustar\x0000".to_owned());
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        seal(&mut header);
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    /// Sets the checksum.
    pub fn seal(header: &mut [u8]) {
        header[148..156].fill(b' ');
        let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    pub fn file(path: &str, content: &[u8]) -> Vec<u8> {
        entry(b'0', path, "", 0o644, content)
    }

    pub fn folder(path: &str) -> Vec<u8> {
        entry(b'5', path, "", 0o755, b"")
    }

    pub fn symlink(path: &str, to: &str) -> Vec<u8> {
        entry(b'2', path, to, 0o777, b"")
    }

    pub fn hard_link(path: &str, to: &str) -> Vec<u8> {
        entry(b'1', path, to, 0o644, b"")
    }

    /// An extended header with these settings, for the entry that follows.
    pub fn pax(settings: &[(&str, &[u8])]) -> Vec<u8> {
        let mut records = Vec::new();
        for (key, value) in settings {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            records.extend_from_slice(format!("{length} {key}=").as_bytes());
            records.extend_from_slice(value);
            records.push(b'\n');
        }
        entry(b'x', "pax", "", 0o644, &records)
    }

    pub fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = entries.concat();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut archive = Archive::new(bytes);
        let mut found = Vec::new();
        while let Some(entry) = archive.next_entry()? {
            let mut content = Vec::new();
            archive
                .content()
                .read_to_end(&mut content)
                .map_err(TarError::Read)?;
            found.push((String::from_utf8_lossy(&entry.path).into_owned(), content));
        }
        Ok(found)
    }

    #[test]
    fn entries_and_contents_are_read() {
        let bytes = build::archive(&[
            build::folder("a/"),
            build::file("a/b", &[7; 513]),
            build::file("c", b""),
        ]);
        let found = paths(&bytes).unwrap();
        assert_eq!(
            found,
            [
                ("a/".into(), vec![]),
                ("a/b".into(), vec![7; 513]),
                ("c".into(), vec![])
            ]
        );
    }

    #[test]
    fn long_names_come_from_extensions() {
        let long = "d/".repeat(150) + "file";
        let gnu = build::entry(b'L', "././@LongLink", "", 0, format!("{long}\0").as_bytes());
        let pax = build::pax(&[("path", long.as_bytes()), ("uid", b"70000")]);
        for extension in [gnu, pax] {
            assert_eq!(
                paths(&build::archive(&[extension, build::file("short", b"x")])).unwrap()[0].0,
                long
            );
        }
    }

    #[test]
    fn a_global_header_holds_until_overridden() {
        let mut global = build::pax(&[("uid", b"7")]);
        global[156] = b'g';
        build::seal(&mut global);
        let bytes = build::archive(&[
            global,
            build::file("a", b""),
            build::pax(&[("uid", b"8")]),
            build::file("b", b""),
        ]);
        let mut archive = Archive::new(bytes.as_slice());
        assert_eq!(archive.next_entry().unwrap().unwrap().uid, 7);
        assert_eq!(archive.next_entry().unwrap().unwrap().uid, 8);
    }

    #[test]
    fn malformed_archives_are_refused() {
        let mut wrong_sum = build::archive(&[build::file("a", b"x")]);
        wrong_sum[0] = b'b';
        assert!(matches!(paths(&wrong_sum), Err(TarError::Checksum)));
        let whole = build::archive(&[build::file("a", &[1; 2000])]);
        assert!(paths(&whole[..1500]).is_err());
        assert!(matches!(paths(&whole[..100]), Err(TarError::Truncated)));
        assert!(matches!(
            paths(&build::archive(&[build::entry(b'S', "s", "", 0, b"")])),
            Err(TarError::Kind('S'))
        ));
        let mut huge = build::entry(b'L', "././@LongLink", "", 0, b"");
        huge[124..136].copy_from_slice(b"77777777777\0");
        build::seal(&mut huge);
        assert!(matches!(paths(&huge), Err(TarError::ExtensionTooLarge(_))));
        // Many headers before one entry, or global ones, each as large as one may be.
        for kind in [b'x', b'g'] {
            let mut part = build::pax(&[("SCHILY.xattr.user.x", &vec![1; 600_000])]);
            part[156] = kind;
            build::seal(&mut part);
            let bytes = build::archive(&[part.clone(), part, build::file("a", b"")]);
            assert!(matches!(paths(&bytes), Err(TarError::ExtensionTooLarge(_))));
        }
        let sparse = build::pax(&[("GNU.sparse.major", b"1")]);
        assert!(matches!(
            paths(&build::archive(&[sparse, build::file("a", b"")])),
            Err(TarError::Kind('S'))
        ));
    }

    #[test]
    fn a_binary_size_is_read_and_a_negative_one_refused() {
        let mut field = [0_u8; 12];
        field[0] = 0x80;
        field[11] = 9;
        assert_eq!(number(&field, "size").unwrap(), 9);
        assert!(number(&[0xff; 12], "size").is_err());
        field[1] = 1;
        assert!(number(&field, "size").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 512..2048), seal in any::<bool>()) {
            if seal {
                build::seal(&mut bytes);
            }
            let _ = paths(&bytes);
        }

        #[test]
        fn flipped_bits_never_panic(at in 0_usize..2048, bit in 0_u8..8) {
            let mut bytes = build::archive(&[build::pax(&[("path", b"p")]), build::file("a", b"content")]);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = paths(&bytes);
        }
    }
}
