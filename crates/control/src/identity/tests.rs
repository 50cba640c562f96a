//! Who is let in, in both modes. What a signature must be is tested in `fogbank_wire::sigv4`.

use super::*;
use crate::model::Tx;
use crate::model::iam::{access_keys, users};
use fogbank_pki::Sessions;
use fogbank_types::{AuthMode, RegionConfig};
use fogbank_wire::{Authorization, Credential, Place, Service};
use http::request::Parts;

const ACCOUNT: &str = "111122223333";

struct Bed {
    tx: Tx,
    config: RegionConfig,
    sessions: Sessions,
    _folder: tempfile::TempDir,
}

impl Bed {
    fn new(auth: AuthMode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tx = Tx::for_test();
        Self {
            config: RegionConfig {
                auth,
                ..tx.config().clone()
            },
            tx,
            sessions: Sessions::open(folder.path()).unwrap(),
            _folder: folder,
        }
    }

    fn user(&mut self, name: &str) -> AccessKey {
        let scope = Scope::new(ACCOUNT, "global");
        let new = users::NewUser {
            name: name.into(),
            ..users::NewUser::default()
        };
        users::create(&mut self.tx, &scope, new).unwrap();
        access_keys::create(&mut self.tx, &scope, Some(name), "secret".into()).unwrap()
    }

    fn known(&self, entrance: Entrance) -> Known<'_> {
        Known {
            snapshot: self.tx.snapshot(),
            sessions: &self.sessions,
            config: &self.config,
            entrance,
            now: self.tx.now(),
        }
    }

    /// With a signature that is none.
    fn say(&self, entrance: Entrance, key: &str, token: Option<&str>) -> Result<String, Denial> {
        let (parts, authorization) = unsigned(key, token);
        let known = self.known(entrance);
        let found = known.identify(&parts, b"", &authorization, Service::Sts)?;
        Ok(found.party.arn)
    }
}

fn unsigned(key: &str, token: Option<&str>) -> (Parts, Authorization) {
    let (parts, ()) = http::Request::new(()).into_parts();
    let authorization = Authorization {
        credential: Credential {
            access_key: key.into(),
            date: "20260101".into(),
            region: "us-east-1".into(),
            service: "sts".into(),
            session_token: token.map(str::to_owned),
        },
        signed_headers: vec!["host".into()],
        signature: "none".into(),
        place: Place::Header,
    };
    (parts, authorization)
}

#[test]
fn where_nothing_is_enforced_a_key_is_whose_it_says() {
    let mut bed = Bed::new(AuthMode::Off);
    let key = bed.user("ann");
    let say = |bed: &Bed, key: &str| bed.say(Entrance::Public, key, None);
    let own = bed.config.account.clone();
    assert_eq!(say(&bed, "test"), Ok(format!("arn:aws:iam::{own}:root")));
    assert_eq!(
        say(&bed, ACCOUNT),
        Ok(format!("arn:aws:iam::{ACCOUNT}:root"))
    );
    assert_eq!(
        say(&bed, &key.id),
        Ok(format!("arn:aws:iam::{ACCOUNT}:user/ann"))
    );
    let scope = key.scope.clone();
    access_keys::set_status(&mut bed.tx, &scope, None, &key.id, "Inactive").unwrap();
    assert_eq!(say(&bed, &key.id), Err(Denial::UnknownKey));
}

#[test]
fn where_it_is_enforced_nobody_comes_in_unproved() {
    let mut bed = Bed::new(AuthMode::Enforce);
    let key = bed.user("ann");
    for unknown in [
        "test",
        ACCOUNT,
        "AKIAQNZGKIQY56JQ7WML",
        "ASIAQNZGKIQY56JQ7WML",
    ] {
        let said = bed.say(Entrance::Public, unknown, None);
        assert_eq!(said, Err(Denial::UnknownKey), "{unknown}");
        let said = bed.say(Entrance::Public, unknown, Some("token"));
        assert_eq!(said, Err(Denial::UnknownKey), "{unknown} with a token");
    }
    // Known, but there is no date, and the signature is none.
    let said = bed.say(Entrance::Public, &key.id, None);
    assert!(matches!(said, Err(Denial::Incomplete(_))), "{said:?}");
    // The host's root is whoever it says.
    let said = bed.say(Entrance::Operator, ACCOUNT, None);
    assert_eq!(said, Ok(format!("arn:aws:iam::{ACCOUNT}:root")));
}

#[test]
fn a_session_is_its_users_as_long_as_it_lasts_and_they_are_there() {
    let mut bed = Bed::new(AuthMode::Off);
    let key = bed.user("ann");
    let scope = key.scope.clone();
    let user_id = bed
        .tx
        .snapshot()
        .users
        .get(&scope, "ann")
        .unwrap()
        .user_id
        .clone();
    let session = Session {
        account: ACCOUNT.into(),
        user_id,
        expires_at_ms: bed.tx.now().0 + 1000,
        ..Session::default()
    };
    let given = bed.sessions.credentials(&session);
    let say = |bed: &Bed, key: &str| bed.say(Entrance::Public, key, Some(&given.token));
    assert_eq!(
        say(&bed, &given.access_key_id),
        Ok(format!("arn:aws:iam::{ACCOUNT}:user/ann"))
    );
    assert_eq!(say(&bed, "ASIAOTHER"), Err(Denial::UnknownKey));
    access_keys::delete(&mut bed.tx, &scope, None, &key.id).unwrap();
    users::delete(&mut bed.tx, &scope, "ann").unwrap();
    assert_eq!(say(&bed, &given.access_key_id), Err(Denial::UnknownKey));
    bed.tx.advance_ms(1000);
    assert_eq!(say(&bed, &given.access_key_id), Err(Denial::ExpiredToken));
}

#[test]
fn temporary_keys_are_nothing_without_their_token() {
    let bed = Bed::new(AuthMode::Enforce);
    let session = Session {
        account: ACCOUNT.into(),
        expires_at_ms: i64::MAX,
        ..Session::default()
    };
    let given = bed.sessions.credentials(&session);
    let said = bed.say(Entrance::Public, &given.access_key_id, None);
    assert_eq!(said, Err(Denial::UnknownKey));
}
