//! Changes: what became of an accepted batch (fact DNS-9).

use super::Refusal;
use crate::model::tx::Tx;
use fogbank_types::route53::Change;
use fogbank_types::{Row, Scope, Snapshot};

/// How long a change that is in sync can still be asked for.
const KEPT_MS: i64 = 24 * 3600 * 1000;

/// `C` and 20 capital letters and digits, as AWS's.
pub fn submit(tx: &mut Tx, scope: &Scope, comment: Option<String>) -> Change {
    let row = Change {
        scope: scope.clone(),
        id: format!("C0{}", capitals(tx, 19)),
        comment,
        submitted_at: tx.now(),
        in_sync: false,
    };
    tx.put(row.clone());
    row
}

/// Random capital letters and digits.
pub(super) fn capitals(tx: &mut Tx, count: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut bits = tx.random();
    let mut text = String::with_capacity(count);
    for _ in 0..count {
        text.push(char::from(DIGITS[(bits % 36) as usize]));
        bits /= 36;
    }
    text
}

pub fn find(snapshot: &Snapshot, scope: &Scope, id: &str) -> Result<Change, Refusal> {
    let row = snapshot.changes.get(scope, id);
    row.map(|row| Change::clone(row))
        .ok_or_else(|| Refusal::NoSuchChange(id.to_owned()))
}

/// Marks the changes that every living name server answers by. Without a name server none is: nobody answers.
pub fn sync(tx: &mut Tx) {
    let applied = tx
        .snapshot()
        .dns_statuses
        .all()
        .map(|status| status.applied)
        .min();
    let now = tx.now();
    let mut synced = Vec::new();
    let mut old = Vec::new();
    for row in tx.snapshot().changes.all() {
        let written = tx
            .snapshot()
            .changes
            .versioned(&row.key())
            .map_or(0, |v| v.revision);
        if row.in_sync && row.submitted_at.plus_ms(KEPT_MS) < now {
            old.push((row.scope.clone(), row.id.clone()));
        } else if !row.in_sync && applied.is_some_and(|applied| applied >= written) {
            synced.push(Change {
                in_sync: true,
                ..Change::clone(row)
            });
        }
    }
    for row in synced {
        tx.put(row);
    }
    for (scope, id) in old {
        tx.delete::<Change>(&scope, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tx::test_config;
    use fogbank_types::Timestamp;
    use fogbank_types::status::DnsStatus;
    use std::sync::Arc;

    fn server(host: &str, applied: u64) -> DnsStatus {
        DnsStatus {
            host: host.to_owned(),
            applied,
        }
    }

    #[test]
    fn a_change_is_in_sync_once_every_name_server_answers_by_it() {
        let scope = Scope::new("000000000000", "global");
        let mut tx = Tx::for_test();
        let id = submit(&mut tx, &scope, None).id;
        let mut snapshot = Snapshot::default();
        snapshot
            .changes
            .insert(Arc::new(find(tx.snapshot(), &scope, &id).unwrap()), 7);
        let synced = |servers: &[DnsStatus]| {
            let mut snapshot = snapshot.clone();
            for server in servers {
                snapshot.dns_statuses.insert(Arc::new(server.clone()), 1);
            }
            let mut tx = Tx::new(snapshot, Timestamp(0), 1, Arc::new(test_config()));
            sync(&mut tx);
            find(tx.snapshot(), &scope, &id).unwrap().in_sync
        };
        assert!(!synced(&[]), "nobody answers");
        assert!(!synced(&[server("a", 6)]));
        assert!(!synced(&[server("a", 7), server("b", 6)]));
        assert!(synced(&[server("a", 7), server("b", 9)]));
    }

    #[test]
    fn an_old_change_is_forgotten() {
        let scope = Scope::new("000000000000", "global");
        let mut tx = Tx::for_test();
        let id = submit(&mut tx, &scope, None).id;
        tx.put(server("a", 1));
        sync(&mut tx);
        assert!(find(tx.snapshot(), &scope, &id).unwrap().in_sync);
        tx.advance_ms(KEPT_MS + 1);
        sync(&mut tx);
        assert_eq!(
            find(tx.snapshot(), &scope, &id),
            Err(Refusal::NoSuchChange(id))
        );
    }
}
