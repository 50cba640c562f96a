//! Rows as they lie on the disk: sealed with a key of the region's own, AES-256 in Galois/Counter mode.
//!
//! The file of the rows tells nothing to whoever has it without the key's file, which the region's root alone can read.
//! What must stay true: no row is written unsealed; a row moved to another's place is no row; the key is in no log and no
//! error.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::error::{Result, StoreError};

const KEY_BYTES: usize = 32;
/// Its owner's alone.
const MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;
/// In front of what is hashed for `check`.
const CHECK: &[u8] = b"fogbank store key\n";

/// The key, ready for use.
pub(crate) struct Seal {
    key: LessSafeKey,
    random: SystemRandom,
    check: u64,
}

impl Seal {
    /// Reads the key's file; `None`: there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let io = |source| StoreError::io("read the key", path, source);
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mode = found.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(StoreError::key(
                path,
                format!(
                    "others than its owner may use it (mode {mode:o}); chmod 600 it, if nobody has read it"
                ),
            ));
        }
        let bytes = fs::read(path).map_err(io)?;
        Self::new(&bytes)
            .map(Some)
            .ok_or_else(|| StoreError::key(path, "it is damaged: a key has 32 bytes"))
    }

    /// Makes the file, whole or not at all.
    pub fn make(path: &Path) -> Result<Self> {
        let io = |source| StoreError::io("make the key", path, source);
        let mut bytes = [0; KEY_BYTES];
        let random = SystemRandom::new();
        let drawn = random.fill(&mut bytes);
        drawn.map_err(|_| io(io::Error::other("the system gives no random numbers")))?;
        let staging = path.with_extension(format!("{}.new", std::process::id()));
        match fs::remove_file(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&staging)
            .map_err(io)?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&staging, path))
            .map_err(io)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        fs::File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(io)?;
        Self::new(&bytes).ok_or_else(|| StoreError::key(path, "it was made damaged"))
    }

    fn new(bytes: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).ok()?;
        let hash = digest::digest(&digest::SHA256, &[CHECK, bytes].concat());
        let mut check = [0; 8];
        check.copy_from_slice(&hash.as_ref()[..8]);
        Some(Self {
            key: LessSafeKey::new(key),
            random: SystemRandom::new(),
            check: u64::from_be_bytes(check),
        })
    }

    /// Tells whether a file was written with this key.
    pub fn check(&self) -> u64 {
        self.check
    }

    /// A row's value for the disk.
    pub fn seal(&self, row: &str, value: &[u8]) -> io::Result<Vec<u8>> {
        let failed = |_| io::Error::other("a row could not be sealed");
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(failed)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + value.len() + AES_256_GCM.tag_len());
        sealed.extend(nonce);
        sealed.extend(value);
        let tag = self.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(row),
            &mut sealed[NONCE_LEN..],
        );
        sealed.extend(tag.map_err(failed)?.as_ref());
        Ok(sealed)
    }

    /// What was sealed; `None`: it is not that row's, or it was changed.
    pub fn unseal(&self, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, content) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = content.to_vec();
        let length = self
            .key
            .open_in_place(nonce, Aad::from(row), &mut content)
            .ok()?
            .len();
        content.truncate(length);
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_in_its_own_place_with_its_own_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.key");
        assert!(Seal::read(&path).unwrap().is_none());
        let seal = Seal::make(&path).unwrap();
        let sealed = seal.seal("a", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_ne!(sealed, seal.seal("a", b"secret").unwrap());
        let again = Seal::read(&path).unwrap().unwrap();
        assert_eq!(again.unseal("a", &sealed).unwrap(), b"secret");
        assert_eq!(again.unseal("b", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(again.unseal("a", &changed), None, "byte {at}");
            assert_eq!(again.unseal("a", &sealed[..at]), None);
        }
        let other = Seal::make(&folder.path().join("other.key")).unwrap();
        assert_eq!(other.unseal("a", &sealed), None);
        assert_ne!(other.check(), seal.check());
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.key");
        Seal::make(&path).unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        mode(0o640);
        assert!(matches!(Seal::read(&path), Err(StoreError::Key { .. })));
        mode(0o600);
        fs::write(&path, b"short").unwrap();
        assert!(matches!(Seal::read(&path), Err(StoreError::Key { .. })));
    }
}
