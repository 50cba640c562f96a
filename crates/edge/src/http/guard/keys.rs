//! The public keys of token issuers: fetched from their JWKS endpoints, kept, and fetched again. Used by `bearer` and
//! `provider`.
//!
//! What must stay true: a request with a known key waits for nobody; an endpoint is asked by one call at a time, at most
//! once in a few seconds however many tokens name keys that nobody knows; keys that can't be renewed are forgotten in
//! the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Reason;
use super::fetch::{Call, FetchError, Fetcher};
use super::jose::{BadKeys, Key, read_keys};
use super::url::Url;
use crate::http::lock;

/// Older keys are renewed in the background.
const FRESH: Duration = Duration::from_secs(600);
/// Older keys count no more.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// A token with an unknown key is a reason to ask again, but not sooner.
const UNKNOWN_REST: Duration = Duration::from_secs(5);
/// The same after an endpoint failed.
const FAILED_REST: Duration = Duration::from_secs(1);
/// "Maximum response size: 150 KB" (JWT validation limits).
const RESPONSE_MAX_BYTES: usize = 150 * 1024;
/// Endpoints remembered; a table has far fewer.
const SETS_MAX: usize = 512;

#[derive(Debug)]
pub struct KeySets {
    fetcher: Arc<Fetcher>,
    sets: Mutex<HashMap<String, Arc<KeySet>>>,
}

/// Of one endpoint.
#[derive(Debug, Default)]
struct KeySet {
    known: Mutex<Known>,
    /// Held by whoever asks the endpoint.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<Vec<Key>>,
    fetched: Option<Instant>,
    asked: Option<Instant>,
    failure: Option<Reason>,
}

/// What is known of a key.
#[derive(Debug)]
pub enum Found {
    /// Among these, if anywhere.
    Keys(Arc<Vec<Key>>),
    /// The endpoint failed a moment ago.
    Failed(Reason),
    Ask,
}

impl KeySets {
    pub fn new(fetcher: Arc<Fetcher>) -> Self {
        Self {
            fetcher,
            sets: Mutex::default(),
        }
    }

    fn set(&self, endpoint: &str) -> Arc<KeySet> {
        let mut sets = lock(&self.sets);
        if let Some(set) = sets.get(endpoint) {
            return set.clone();
        }
        if sets.len() >= SETS_MAX {
            sets.clear();
        }
        sets.entry(endpoint.to_owned()).or_default().clone()
    }

    /// Never waits. Starts a renewal where it is due.
    pub fn find(&self, endpoint: &str, key_id: Option<&str>) -> Found {
        let set = self.set(endpoint);
        let found = lock(&set.known).find(key_id, Instant::now());
        let is_old = lock(&set.known).is_old(Instant::now());
        if let Found::Keys(_) = found
            && is_old
        {
            let (fetcher, endpoint) = (self.fetcher.clone(), endpoint.to_owned());
            tokio::spawn(async move { set.ask(&fetcher, &endpoint).await });
        }
        found
    }

    /// Asks the endpoint, unless somebody else just has.
    pub async fn refresh(&self, endpoint: &str) -> Result<(), Reason> {
        self.set(endpoint).ask(&self.fetcher, endpoint).await
    }
}

impl Known {
    fn find(&self, key_id: Option<&str>, now: Instant) -> Found {
        let within = |since: Option<Instant>, time| {
            since.is_some_and(|since| now.saturating_duration_since(since) < time)
        };
        let is_known = self.keys.iter().any(|key| key.answers_to(key_id));
        if within(self.fetched, LIFE) && is_known {
            return Found::Keys(self.keys.clone());
        }
        match self.failure {
            Some(reason) if within(self.asked, FAILED_REST) => Found::Failed(reason),
            None if within(self.asked, UNKNOWN_REST) => Found::Keys(self.keys.clone()),
            _ => Found::Ask,
        }
    }

    fn is_old(&self, now: Instant) -> bool {
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let rested = since(self.asked).is_none_or(|since| since >= UNKNOWN_REST);
        rested && since(self.fetched).is_some_and(|age| age >= FRESH)
    }
}

impl KeySet {
    async fn ask(&self, fetcher: &Fetcher, endpoint: &str) -> Result<(), Reason> {
        let called = Instant::now();
        let _turn = self.asking.lock().await;
        {
            let known = lock(&self.known);
            if known.asked.is_some_and(|asked| asked >= called) {
                return known.failure.map_or(Ok(()), Err);
            }
        }
        let fetched = fetch(fetcher, endpoint).await;
        let mut known = lock(&self.known);
        known.asked = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                known.keys = Arc::new(keys);
                known.fetched = known.asked;
                known.failure = None;
                Ok(())
            }
            Err(reason) => {
                known.failure = Some(reason);
                Err(reason)
            }
        }
    }
}

async fn fetch(fetcher: &Fetcher, endpoint: &str) -> Result<Vec<Key>, Reason> {
    let url = Url::parse(endpoint).ok_or(Reason::JWKSRequestFailed)?;
    let call = Call {
        url: &url,
        authorization: None,
        form: None,
        max_bytes: RESPONSE_MAX_BYTES,
    };
    let fetched = fetcher.fetch(call).await.map_err(|error| match error {
        FetchError::Timeout | FetchError::Unknown { .. } | FetchError::Unreachable { .. } => {
            Reason::JWKSRequestTimeout
        }
        FetchError::TooLarge { .. } => Reason::JWKSResponseSizeExceeded,
        FetchError::Invalid(_) => Reason::JWKSResponseInvalid,
    })?;
    if !fetched.is_success() {
        return Err(Reason::JWKSRequestFailed);
    }
    read_keys(&fetched.body).map_err(|bad| match bad {
        BadKeys::Invalid => Reason::JWKSResponseInvalid,
        BadKeys::TooMany => Reason::JWKSResponseSizeExceeded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"keys":[{"kty":"EC","kid":"a","crv":"P-256","x":"AQ","y":"AQ"}]}"#;

    fn after(begin: Instant, time: Duration) -> Instant {
        begin + time
    }

    #[test]
    fn known_keys_serve_until_they_are_a_day_old() {
        let begin = Instant::now();
        let known = Known {
            keys: Arc::new(read_keys(KEY.as_bytes()).unwrap()),
            fetched: Some(begin),
            asked: Some(begin),
            failure: None,
        };
        let find = |id, time| known.find(Some(id), after(begin, time));
        assert!(matches!(find("a", Duration::ZERO), Found::Keys(_)));
        assert!(matches!(find("a", LIFE - FAILED_REST), Found::Keys(_)));
        assert!(matches!(find("a", LIFE), Found::Ask));
        assert!(!known.is_old(after(begin, FRESH - FAILED_REST)));
        assert!(known.is_old(after(begin, FRESH)));
    }

    #[test]
    fn an_unknown_key_is_asked_for_once_in_a_while() {
        let begin = Instant::now();
        let mut known = Known {
            keys: Arc::new(read_keys(KEY.as_bytes()).unwrap()),
            fetched: Some(begin),
            asked: Some(begin),
            failure: None,
        };
        let soon = after(begin, FAILED_REST);
        assert!(matches!(known.find(Some("b"), soon), Found::Keys(_)));
        let later = after(begin, UNKNOWN_REST);
        assert!(matches!(known.find(Some("b"), later), Found::Ask));
        known.asked = Some(later);
        known.failure = Some(Reason::JWKSRequestTimeout);
        assert!(matches!(known.find(Some("b"), later), Found::Failed(_)));
        // Those that are known serve on.
        assert!(matches!(known.find(Some("a"), later), Found::Keys(_)));
        let rested = after(later, FAILED_REST);
        assert!(matches!(known.find(Some("b"), rested), Found::Ask));
        assert!(matches!(Known::default().find(None, begin), Found::Ask));
    }
}
