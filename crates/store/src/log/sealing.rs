//! Events that are sealed: of log groups with a key of KMS (docs/decisions/0033-logs.md).
//!
//! A stream's folder holds the public half of its group's key pair while new events are to be sealed. A writer makes a data
//! key (AES-256), seals events with it (Galois/Counter mode), and leaves the data key in the folder, sealed with the public
//! key (RSA-OAEP, SHA-256). Whoever writes can therefore never read. What must stay true: where the public key is, nothing
//! is written in the clear; no private or data key lies on the disk in the clear; an event at another time, or of another
//! stream's data key, does not open.

use super::LogError;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use rsa::pkcs1::{
    DecodeRsaPrivateKey, DecodeRsaPublicKey, EncodeRsaPrivateKey, EncodeRsaPublicKey,
};
use rsa::{Oaep, RsaPrivateKey, RsaPublicKey};
use sha2::Sha256;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const PUBLIC_FILE: &str = "seal.pub";
const NUMBER_BYTES: usize = 8;
const DATA_KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// What a sealed message is longer by.
pub const SEAL_BYTES: usize = NUMBER_BYTES + NONCE_LEN + TAG_BYTES;
const PAIR_BITS: usize = 2048;
/// Streams whose data keys a process remembers, so that it does not make one for each batch.
const REMEMBERED_MAX: usize = 1_024;

fn failed(what: &'static str) -> io::Error {
    io::Error::other(what)
}

/// A group's key pair, both halves in DER (PKCS #1).
pub struct KeyPair {
    pub public: Vec<u8>,
    pub private: Vec<u8>,
}

impl KeyPair {
    /// Takes some tenths of a second.
    pub fn generate() -> io::Result<Self> {
        let private = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, PAIR_BITS);
        let private = private.map_err(|_| failed("no key pair can be made"))?;
        let public = private.to_public_key().to_pkcs1_der();
        let public = public.map_err(|_| failed("no key pair can be written"))?;
        let private = private.to_pkcs1_der();
        let private = private.map_err(|_| failed("no key pair can be written"))?;
        Ok(Self {
            public: public.as_bytes().to_vec(),
            private: private.as_bytes().to_vec(),
        })
    }
}

/// From now on what is written to the stream is sealed for the owner of the pair with this id.
pub fn seal_with(folder: &Path, id: &str, public: &[u8]) -> Result<(), LogError> {
    let path = folder.join(PUBLIC_FILE);
    let mut content = format!("{id}\n").into_bytes();
    content.extend_from_slice(public);
    if std::fs::read(&path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let write = || {
        std::fs::create_dir_all(folder)?;
        let new = path.with_extension("new");
        std::fs::write(&new, &content)?;
        std::fs::rename(&new, &path)
    };
    write().map_err(LogError::io("seal", &path))
}

/// From now on what is written to the stream is not sealed.
pub fn seal_no_more(folder: &Path) -> Result<(), LogError> {
    let path = folder.join(PUBLIC_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LogError::io("remove", &path)(error))
        }
        _ => Ok(()),
    }
}

/// Seals a stream's events with one data key.
pub(super) struct Sealer {
    /// Inode and time of the public key that it is for.
    stamp: (u64, i64, i64),
    number: u64,
    key: LessSafeKey,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({:016x})", self.number)
    }
}

fn remembered() -> &'static Mutex<HashMap<PathBuf, Arc<Sealer>>> {
    static SEALERS: OnceLock<Mutex<HashMap<PathBuf, Arc<Sealer>>>> = OnceLock::new();
    SEALERS.get_or_init(Mutex::default)
}

impl Sealer {
    /// The one for a stream as it is now; `known` if that is still it. None: its events are not sealed.
    pub fn of(folder: &Path, known: Option<&Arc<Self>>) -> io::Result<Option<Arc<Self>>> {
        let path = folder.join(PUBLIC_FILE);
        let stamp = match std::fs::metadata(&path) {
            Ok(found) => (found.ino(), found.mtime(), found.mtime_nsec()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(known) = known.filter(|known| known.stamp == stamp) {
            return Ok(Some(known.clone()));
        }
        let mut all = remembered().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = all.get(folder).filter(|found| found.stamp == stamp) {
            return Ok(Some(found.clone()));
        }
        let made = Arc::new(Self::make(folder, &path, stamp)?);
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        all.insert(folder.to_owned(), made.clone());
        Ok(Some(made))
    }

    fn make(folder: &Path, path: &Path, stamp: (u64, i64, i64)) -> io::Result<Self> {
        let content = std::fs::read(path)?;
        let end = content.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| failed("a public key is damaged"))?;
        let public = RsaPublicKey::from_pkcs1_der(&content[end + 1..]);
        let public = public.map_err(|_| failed("a public key is damaged"))?;
        let mut random = [0; DATA_KEY_BYTES + NUMBER_BYTES];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| failed("the system gives no random numbers"))?;
        let (secret, number) = random.split_at(DATA_KEY_BYTES);
        let number = number
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let sealed = public.encrypt(&mut rsa::rand_core::OsRng, Oaep::new::<Sha256>(), secret);
        let sealed = sealed.map_err(|_| failed("a data key cannot be sealed"))?;
        // The id of the pair, then the data key; there before anything that is sealed with it.
        let mut file = content[..=end].to_vec();
        file.extend_from_slice(&sealed);
        let mut options = std::fs::OpenOptions::new();
        let mut target = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(data_key_path(folder, number))?;
        io::Write::write_all(&mut target, &file)?;
        let key = data_key(secret).ok_or_else(|| failed("a data key is none"))?;
        Ok(Self { stamp, number, key })
    }

    pub fn seal(&self, timestamp_ms: i64, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| failed("the system gives no random numbers"))?;
        let mut sealed = Vec::with_capacity(message.len() + SEAL_BYTES);
        sealed.extend_from_slice(&self.number.to_le_bytes());
        sealed.extend_from_slice(&nonce);
        let mut text = message.to_vec();
        let around = Aad::from(timestamp_ms.to_le_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), around, &mut text)
            .map_err(|_| failed("an event cannot be sealed"))?;
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }
}

fn data_key_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.key"))
}

fn data_key(secret: &[u8]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, secret).ok()?,
    ))
}

/// The private halves that a reader may use, by the ids of their pairs.
#[derive(Default)]
pub struct LogKeys {
    pairs: HashMap<String, RsaPrivateKey>,
    /// By folder and number.
    data: Mutex<HashMap<(PathBuf, u64), Arc<LessSafeKey>>>,
}

impl fmt::Debug for LogKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKeys({})", self.pairs.len())
    }
}

impl LogKeys {
    /// False: it is no private key.
    pub fn add(&mut self, id: &str, private: &[u8]) -> bool {
        let key = RsaPrivateKey::from_pkcs1_der(private).ok();
        let is_key = key.is_some();
        self.pairs.extend(key.map(|key| (id.to_owned(), key)));
        is_key
    }

    /// The message; none: a key for it is not here, or somebody has changed it.
    pub(super) fn open(&self, folder: &Path, timestamp_ms: i64, sealed: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = sealed.split_first_chunk::<NUMBER_BYTES>()?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.data_key(folder, u64::from_le_bytes(*number))?;
        let mut text = text.to_vec();
        let around = Aad::from(timestamp_ms.to_le_bytes());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, around, &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }

    fn data_key(&self, folder: &Path, number: u64) -> Option<Arc<LessSafeKey>> {
        let mut known = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (folder.to_owned(), number);
        if let Some(key) = known.get(&name) {
            return Some(key.clone());
        }
        let content = std::fs::read(data_key_path(folder, number)).ok()?;
        let end = content.iter().position(|byte| *byte == b'\n')?;
        let pair = self.pairs.get(std::str::from_utf8(&content[..end]).ok()?)?;
        let secret = pair
            .decrypt(Oaep::new::<Sha256>(), &content[end + 1..])
            .ok()?;
        let key = Arc::new(data_key(&secret)?);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(name, key.clone());
        Some(key)
    }
}
