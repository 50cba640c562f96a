//! Log streams. Tasks' hosts make the rows of their streams themselves.

use super::{Refusal, groups, invalid};
use crate::model::Tx;
use fogbank_types::logs::LogStream;
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    group: &str,
    name: &str,
) -> Result<&'a Arc<LogStream>, Refusal> {
    groups::find(snapshot, scope, group)?;
    snapshot
        .log_streams
        .get(scope, format!("{group}:{name}"))
        .ok_or(Refusal::StreamNotFound)
}

/// The streams of a group, ordered by name.
pub fn of<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    group: &str,
) -> impl Iterator<Item = &'a Arc<LogStream>> + use<'a> {
    // No group's name holds a colon, so the prefix is one group's.
    snapshot
        .log_streams
        .with_prefix(scope, &format!("{group}:"))
}

pub fn create(tx: &mut Tx, scope: &Scope, group: &str, name: &str) -> Result<LogStream, Refusal> {
    if name.is_empty()
        || name.len() > 512
        || name.contains([':', '*'])
        || name.chars().any(char::is_control)
    {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*"
        )));
    }
    match find(tx.snapshot(), scope, group, name) {
        Ok(_) => return Err(Refusal::StreamAlreadyExists),
        Err(Refusal::StreamNotFound) => {}
        Err(other) => return Err(other),
    }
    let stream = LogStream {
        scope: scope.clone(),
        group: group.to_owned(),
        name: name.to_owned(),
        uid: tx.uuid(),
        created_at: tx.now(),
    };
    tx.put(stream.clone());
    Ok(stream)
}

/// Gives the uid, whose events are to be removed.
pub fn delete(tx: &mut Tx, scope: &Scope, group: &str, name: &str) -> Result<String, Refusal> {
    let uid = find(tx.snapshot(), scope, group, name)?.uid.clone();
    tx.delete::<LogStream>(scope, format!("{group}:{name}"));
    Ok(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::Tags;

    #[test]
    fn a_stream_needs_its_group_and_a_good_name() {
        let scope = Scope::new("000000000000", "us-east-1");
        let mut tx = Tx::for_test();
        assert_eq!(
            create(&mut tx, &scope, "/api", "a/b").unwrap_err(),
            Refusal::GroupNotFound
        );
        groups::create(&mut tx, &scope, "/api", None, None, Tags::new()).unwrap();
        let first = create(&mut tx, &scope, "/api", "a/b").unwrap();
        assert_eq!(
            create(&mut tx, &scope, "/api", "a/b").unwrap_err(),
            Refusal::StreamAlreadyExists
        );
        assert!(create(&mut tx, &scope, "/api", "a:b").is_err());
        assert_eq!(delete(&mut tx, &scope, "/api", "a/b").unwrap(), first.uid);
        assert_ne!(
            create(&mut tx, &scope, "/api", "a/b").unwrap().uid,
            first.uid,
            "events do not come back"
        );
    }
}
