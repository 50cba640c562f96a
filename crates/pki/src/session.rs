//! Temporary credentials of roles, which say themselves whose they are: the region keeps one key and no list.
//!
//! `node` gives them to tasks, `control` by STS; `control` reads them back. What must stay true: nobody without the key
//! makes a token that is read as a session; the key never leaves `<data>/sessions.key`; the secret can be derived again
//! from the access key alone, so that a signature can be checked without a list.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

const FILE: &str = "sessions.key";
const KEY_BYTES: usize = 32;
/// Ahead of a token's content; what starts otherwise isn't ours.
const MARK: &[u8] = b"fogbank session 1\n";
const SIGNATURE_BYTES: usize = 32;
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Why the key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("{operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{0} is not a key")]
    Malformed(PathBuf),
    #[error("the system gives no random numbers")]
    Random,
}

/// Who a token stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    pub account: String,
    /// `AROA...`, and the role's name without its path; both empty for a session of the account's root.
    pub role_id: String,
    pub role: String,
    /// The session's own name: a task's id.
    pub name: String,
    pub issued_at_ms: i64,
    pub expires_at_ms: i64,
    /// `AIDA...` of the user that it is of, if it is no role's.
    pub user_id: String,
    /// JSON texts or ARNs: it may do only what one of them allows too, if there are any.
    pub policies: Vec<String>,
    /// Of the session alone.
    pub tags: Vec<(String, String)>,
}

impl Session {
    /// Of a role's session, as STS shows it.
    pub fn arn(&self) -> String {
        if self.role.is_empty() {
            return format!("arn:aws:iam::{}:root", self.account);
        }
        format!(
            "arn:aws:sts::{}:assumed-role/{}/{}",
            self.account, self.role, self.name
        )
    }

    /// Six lines, and one more for each thing that not every session has.
    fn content(&self) -> String {
        let plain = [
            self.account.clone(),
            self.role_id.clone(),
            self.role.clone(),
            self.name.clone(),
            self.issued_at_ms.to_string(),
            self.expires_at_ms.to_string(),
        ];
        // No field can hold a line's end: they are names of AWS's and numbers.
        let mut lines: Vec<String> = plain.map(|field| field.replace('\n', " ")).to_vec();
        if !self.user_id.is_empty() {
            lines.push(format!("user {}", self.user_id));
        }
        let policies = self.policies.iter();
        lines.extend(policies.map(|text| format!("policy {}", STANDARD.encode(text))));
        lines.extend(self.tags.iter().map(|(key, value)| {
            format!("tag {} {}", STANDARD.encode(key), STANDARD.encode(value))
        }));
        lines.join("\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split('\n').collect();
        let [account, role_id, role, name, issued, expires, more @ ..] = fields.as_slice() else {
            return None;
        };
        let mut session = Self {
            account: (*account).to_owned(),
            role_id: (*role_id).to_owned(),
            role: (*role).to_owned(),
            name: (*name).to_owned(),
            issued_at_ms: issued.parse().ok()?,
            expires_at_ms: expires.parse().ok()?,
            ..Self::default()
        };
        let decoded = |text: &str| String::from_utf8(STANDARD.decode(text).ok()?).ok();
        for line in more {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["user", id] => session.user_id = (*id).to_owned(),
                ["policy", text] => session.policies.push(decoded(text)?),
                ["tag", key, value] => session.tags.push((decoded(key)?, decoded(value)?)),
                _ => return None,
            }
        }
        Some(session)
    }
}

/// What a client signs with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub token: String,
}

impl fmt::Debug for Credentials {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// What a token is to this region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Session(Session),
    /// It looks like ours and isn't, or belongs to another access key.
    Forged,
    /// Somebody else's form.
    Foreign,
}

/// The region's key.
#[derive(Clone)]
pub struct Sessions {
    key: hmac::Key,
}

impl Sessions {
    /// Reads the key, or makes it if there is none. Several processes may do so at once.
    pub fn open(data_dir: &Path) -> Result<Self, SessionError> {
        let path = data_dir.join(FILE);
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| SessionError::Io {
                operation,
                path,
                source,
            }
        };
        if !path.exists() {
            let mut bytes = [0; KEY_BYTES];
            let random = SystemRandom::new();
            random.fill(&mut bytes).map_err(|_| SessionError::Random)?;
            let mut suffix = [0; 8];
            random.fill(&mut suffix).map_err(|_| SessionError::Random)?;
            let own = data_dir.join(format!("{FILE}.{:x}", u64::from_be_bytes(suffix)));
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&own)
                .map_err(failed("make", &own))?;
            io::Write::write_all(&mut file, &bytes)
                .and_then(|()| file.sync_all())
                .map_err(failed("write", &own))?;
            // Whoever links first has made the key of all.
            let linked = fs::hard_link(&own, &path);
            let _ = fs::remove_file(&own);
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("make", &path)(error));
                }
                _ => {}
            }
        }
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        if bytes.len() != KEY_BYTES {
            return Err(SessionError::Malformed(path));
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        })
    }

    /// The credentials of a session: the same for the same session.
    pub fn credentials(&self, session: &Session) -> Credentials {
        let content = session.content();
        let tag = self.sign("access key", content.as_bytes());
        let letters = tag[..16]
            .iter()
            .map(|byte| char::from(LETTERS[usize::from(byte & 31)]));
        let access_key_id = format!("ASIA{}", letters.collect::<String>());
        let mut token = MARK.to_vec();
        token.extend(self.sign("token", &signed(&access_key_id, &content)));
        token.extend(content.as_bytes());
        Credentials {
            secret_access_key: self.secret(&access_key_id),
            token: STANDARD.encode(token),
            access_key_id,
        }
    }

    /// What an access key of temporary credentials signs with. Only with a token that was read is it anybody's.
    pub fn secret(&self, access_key_id: &str) -> String {
        let secret = self.sign("secret", access_key_id.as_bytes());
        STANDARD.encode(&secret[..30])
    }

    /// Reads a token back. An expired session is a session: the caller has the clock.
    pub fn read(&self, access_key_id: &str, token: &str) -> Token {
        let Ok(bytes) = STANDARD.decode(token) else {
            return Token::Foreign;
        };
        let Some(rest) = bytes.strip_prefix(MARK) else {
            return Token::Foreign;
        };
        let Some((signature, content)) = rest.split_at_checked(SIGNATURE_BYTES) else {
            return Token::Forged;
        };
        let Ok(content) = std::str::from_utf8(content) else {
            return Token::Forged;
        };
        let message = tagged("token", &signed(access_key_id, content));
        match hmac::verify(&self.key, &message, signature) {
            Ok(()) => Session::parse(content).map_or(Token::Forged, Token::Session),
            Err(_) => Token::Forged,
        }
    }

    /// Text that only this region can have made, with what it says. It can be read by whoever has it.
    pub fn seal(&self, purpose: &str, content: &[u8]) -> String {
        let signature = self.sign(purpose, content);
        STANDARD.encode([&signature, content].concat())
    }

    /// What sealed text says; `None` if it is not this region's, or for another purpose.
    pub fn unseal(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(sealed).ok()?;
        let (signature, content) = bytes.split_at_checked(SIGNATURE_BYTES)?;
        hmac::verify(&self.key, &tagged(purpose, content), signature).ok()?;
        Some(content.to_vec())
    }

    /// An identifier in the form of a UUID that only this region can know.
    pub fn uuid(&self, of: &str) -> String {
        let tag = self.sign("uuid", of.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&tag[..16]);
        // Version 4, variant 1 (RFC 9562).
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    pub(crate) fn sign(&self, purpose: &str, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let tag = hmac::sign(&self.key, &tagged(purpose, message));
        let mut bytes = [0; SIGNATURE_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }
}

/// The secret of a long-term access key: forty characters of the system's own chance.
pub fn secret_access_key() -> Result<String, SessionError> {
    let mut bytes = [0; 30];
    let random = SystemRandom::new();
    random.fill(&mut bytes).map_err(|_| SessionError::Random)?;
    Ok(STANDARD.encode(bytes))
}

fn tagged(purpose: &str, message: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), b"\0", message].concat()
}

fn signed(access_key_id: &str, content: &str) -> Vec<u8> {
    [access_key_id.as_bytes(), b"\n", content.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            account: "000000000000".into(),
            role_id: "AROA1".into(),
            role: "orders".into(),
            name: "0123".into(),
            issued_at_ms: 1,
            expires_at_ms: 2,
            ..Session::default()
        }
    }

    #[test]
    fn what_a_session_is_limited_to_is_in_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path()).unwrap();
        let limited = Session {
            user_id: "AIDA1".into(),
            policies: vec![
                "{\n\"Version\": \"2012-10-17\"}".into(),
                "arn:aws:iam::aws:policy/ReadOnlyAccess".into(),
            ],
            tags: vec![
                ("team".into(), String::new()),
                ("a b".into(), "c\nd".into()),
            ],
            ..session()
        };
        let given = sessions.credentials(&limited);
        let read = sessions.read(&given.access_key_id, &given.token);
        assert_eq!(read, Token::Session(limited));
        assert_eq!(
            sessions.secret(&given.access_key_id),
            given.secret_access_key
        );
    }

    #[test]
    fn what_is_given_is_read_back_by_every_process_of_the_region() {
        let folder = tempfile::tempdir().unwrap();
        let given = Sessions::open(folder.path())
            .unwrap()
            .credentials(&session());
        assert!(given.access_key_id.starts_with("ASIA") && given.access_key_id.len() == 20);
        assert_eq!(given.secret_access_key.len(), 40);
        let other = Sessions::open(folder.path()).unwrap();
        assert_eq!(
            other.read(&given.access_key_id, &given.token),
            Token::Session(session())
        );
        assert_eq!(
            session().arn(),
            "arn:aws:sts::000000000000:assumed-role/orders/0123"
        );
    }

    #[test]
    fn no_other_token_is_a_session() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sessions = Sessions::open(one.path()).unwrap();
        let foreign = Sessions::open(two.path()).unwrap().credentials(&session());
        assert_eq!(
            sessions.read(&foreign.access_key_id, &foreign.token),
            Token::Forged
        );
        let given = sessions.credentials(&session());
        assert_eq!(sessions.read("ASIAOTHER", &given.token), Token::Forged);
        let mut bytes = STANDARD.decode(&given.token).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let changed = STANDARD.encode(bytes);
        assert_eq!(sessions.read(&given.access_key_id, &changed), Token::Forged);
        assert_eq!(sessions.read("ASIA", "token"), Token::Foreign);
    }

    #[test]
    fn what_is_sealed_for_one_purpose_says_nothing_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path()).unwrap();
        let sealed = sessions.seal("exec", b"task");
        assert_eq!(sessions.unseal("exec", &sealed).unwrap(), b"task");
        assert_eq!(sessions.unseal("token", &sealed), None);
        assert_eq!(sessions.unseal("exec", "AAAA"), None);
    }

    #[test]
    fn secrets_have_forty_characters_and_differ() {
        let (one, two) = (secret_access_key().unwrap(), secret_access_key().unwrap());
        assert_eq!((one.len(), two.len()), (40, 40));
        assert_ne!(one, two);
    }

    #[test]
    fn identifiers_are_uuids_and_differ() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path()).unwrap();
        assert_eq!(sessions.uuid("a"), sessions.uuid("a"));
        assert_ne!(sessions.uuid("a"), sessions.uuid("b"));
        let parts: Vec<usize> = sessions.uuid("a").split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
    }
}
