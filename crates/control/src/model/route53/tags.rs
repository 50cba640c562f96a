//! Tags of hosted zones and health checks.

use super::{Refusal, health_checks, invalid, zones};
use crate::model::tx::Tx;
use fogbank_types::route53::{HealthCheck, HostedZone};
use fogbank_types::{Scope, Snapshot, Tags};

const TAGS_MAX: usize = 50;

pub fn of<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    kind: &str,
    id: &str,
) -> Result<&'a Tags, Refusal> {
    match kind {
        "hostedzone" => Ok(&zones::find(snapshot, scope, id)?.tags),
        _ => Ok(&health_checks::find(snapshot, scope, id)?.tags),
    }
}

pub fn change(
    tx: &mut Tx,
    scope: &Scope,
    kind: &str,
    id: &str,
    add: &[(String, String)],
    remove: &[String],
) -> Result<(), Refusal> {
    let mut tags = of(tx.snapshot(), scope, kind, id)?.clone();
    if add.is_empty() && remove.is_empty() {
        return Err(invalid(
            "At least one tag to add or to remove must be specified",
        ));
    }
    let own = |key: &String| key.to_ascii_lowercase().starts_with("aws:");
    if add.iter().map(|(key, _)| key).chain(remove).any(own) {
        return Err(invalid("Tag keys that start with 'aws:' are reserved"));
    }
    tags.retain(|key, _| !remove.contains(key));
    tags.extend(add.iter().cloned());
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!(
            "A resource cannot have more than {TAGS_MAX} tags"
        )));
    }
    match kind {
        "hostedzone" => tx.update::<HostedZone>(scope, id, |zone| zone.tags = tags),
        _ => tx.update::<HealthCheck>(scope, id, |check| check.tags = tags),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{scope, zone};
    use super::*;

    #[test]
    fn tags_come_and_go() {
        let mut tx = Tx::for_test();
        let id = zone(&mut tx, "example.test").id;
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let kind = "hostedzone";
        change(
            &mut tx,
            &scope(),
            kind,
            &id,
            &[pair("a", "1"), pair("b", "2")],
            &[],
        )
        .unwrap();
        change(
            &mut tx,
            &scope(),
            kind,
            &id,
            &[pair("b", "3")],
            &["a".to_owned()],
        )
        .unwrap();
        let tags = of(tx.snapshot(), &scope(), kind, &id).unwrap();
        assert_eq!(tags, &Tags::from([pair("b", "3")]));
        assert!(change(&mut tx, &scope(), kind, &id, &[], &[]).is_err());
        assert!(change(&mut tx, &scope(), kind, &id, &[pair("aws:x", "")], &[]).is_err());
        let many: Vec<_> = (0..51).map(|n| pair(&n.to_string(), "")).collect();
        assert!(change(&mut tx, &scope(), kind, &id, &many, &[]).is_err());
        assert!(change(&mut tx, &scope(), kind, "Z", &[pair("a", "")], &[]).is_err());
        let refused = change(&mut tx, &scope(), "healthcheck", "x", &[pair("a", "")], &[]);
        assert!(matches!(refused, Err(Refusal::NoSuchHealthCheck(_))));
    }
}
