//! Tags of load balancers, target groups, listeners, rules and trust stores.

use super::arns::{self, FoundRule, Kind};
use super::{Refusal, invalid};
use crate::model::tx::Tx;
use fogbank_types::elb::{Listener, ListenerRule, LoadBalancer, TargetGroup, TrustStore};
use fogbank_types::{Scope, Snapshot, Tags};

const TAGS_MAX: usize = 50;

/// Tags as they come, made a map; a key twice is refused.
pub fn collect(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tags, Refusal> {
    let mut tags = Tags::new();
    for (key, value) in pairs {
        if tags.contains_key(&key) {
            return Err(Refusal::DuplicateTagKeys(format!(
                "Tag key '{key}' is specified more than once"
            )));
        }
        tags.insert(key, value);
    }
    Ok(tags)
}

/// Whether these may be the tags of a resource.
pub fn check(tags: &Tags, resource: &str) -> Result<(), Refusal> {
    if let Some(key) = tags
        .keys()
        .find(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        return Err(invalid(format!(
            "aws: prefixed tag key names are not allowed for external use: '{key}'"
        )));
    }
    if tags.len() > TAGS_MAX {
        return Err(Refusal::TooManyTags(resource.to_owned()));
    }
    Ok(())
}

/// The tags of a resource. The default rule of a listener has none of its own.
pub fn of<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<Option<&'a Tags>, Refusal> {
    match arns::kind(arn) {
        Some(Kind::LoadBalancer) => {
            arns::find_load_balancer(snapshot, scope, arn).map(|row| Some(&row.tags))
        }
        Some(Kind::TargetGroup) => {
            arns::find_target_group(snapshot, scope, arn).map(|row| Some(&row.tags))
        }
        Some(Kind::Listener) => {
            arns::find_listener(snapshot, scope, arn).map(|row| Some(&row.tags))
        }
        Some(Kind::TrustStore) => {
            arns::find_trust_store(snapshot, scope, arn).map(|row| Some(&row.tags))
        }
        Some(Kind::Rule) => arns::find_rule(snapshot, scope, arn).map(|found| match found {
            FoundRule::Rule(row) => Some(&row.tags),
            FoundRule::Default(_) => None,
        }),
        None => Err(invalid(format!("'{arn}' is not a valid resource ARN"))),
    }
}

/// Adds or overwrites on all the resources, or on none.
pub fn add(tx: &mut Tx, scope: &Scope, arns: &[String], tags: &Tags) -> Result<(), Refusal> {
    change(tx, scope, arns, |own| own.extend(tags.clone()))
}

/// Removes on all the resources, or on none. Keys that are not there are passed over.
pub fn remove(tx: &mut Tx, scope: &Scope, arns: &[String], keys: &[String]) -> Result<(), Refusal> {
    change(tx, scope, arns, |own| {
        own.retain(|key, _| !keys.contains(key))
    })
}

fn change(
    tx: &mut Tx,
    scope: &Scope,
    arns: &[String],
    edit: impl Fn(&mut Tags),
) -> Result<(), Refusal> {
    let mut edited = Vec::new();
    for arn in arns {
        let own = of(tx.snapshot(), scope, arn)?.ok_or_else(|| {
            Refusal::OperationNotPermitted(format!("Default rule '{arn}' cannot be tagged"))
        })?;
        let mut tags = own.clone();
        edit(&mut tags);
        check(&tags, arn)?;
        edited.push((arn, tags));
    }
    for (arn, tags) in edited {
        match arns::kind(arn) {
            Some(Kind::LoadBalancer) => tx.update::<LoadBalancer>(scope, arn, |r| r.tags = tags),
            Some(Kind::TargetGroup) => tx.update::<TargetGroup>(scope, arn, |r| r.tags = tags),
            Some(Kind::Listener) => tx.update::<Listener>(scope, arn, |r| r.tags = tags),
            Some(Kind::TrustStore) => tx.update::<TrustStore>(scope, arn, |r| r.tags = tags),
            _ => tx.update::<ListenerRule>(scope, arn, |r| r.tags = tags),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Region;
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn tags_come_and_go_on_every_kind() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let group = region.target_group("api");
        let listener = region.listener(&lb.arn, 80);
        let arns = vec![lb.arn, group.arn, listener.arn];
        add(
            &mut region.tx,
            &scope,
            &arns,
            &tags(&[("a", "1"), ("b", "2")]),
        )
        .unwrap();
        remove(
            &mut region.tx,
            &scope,
            &arns,
            &["a".to_owned(), "zz".to_owned()],
        )
        .unwrap();
        for arn in &arns {
            assert_eq!(
                of(region.tx.snapshot(), &scope, arn).unwrap(),
                Some(&tags(&[("b", "2")]))
            );
        }
    }

    #[test]
    fn refusals() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let arn = region.target_group("api").arn;
        let one = vec![arn.clone()];
        let twice = [
            ("a".to_owned(), String::new()),
            ("a".to_owned(), String::new()),
        ];
        assert!(matches!(collect(twice), Err(Refusal::DuplicateTagKeys(_))));
        assert!(add(&mut region.tx, &scope, &one, &tags(&[("aws:x", "")])).is_err());
        let many: Tags = (0..51).map(|n| (n.to_string(), String::new())).collect();
        assert!(matches!(
            add(&mut region.tx, &scope, &one, &many),
            Err(Refusal::TooManyTags(_))
        ));
        let gone = vec![
            arn.clone(),
            arns::target_group(&scope, "x", "0123456789abcdef"),
        ];
        let refused = add(&mut region.tx, &scope, &gone, &tags(&[("a", "")]));
        assert_eq!(refused, Err(Refusal::TargetGroupNotFound));
        assert!(
            of(region.tx.snapshot(), &scope, &arn)
                .unwrap()
                .unwrap()
                .is_empty(),
            "all or none"
        );
        assert!(of(region.tx.snapshot(), &scope, "nonsense").is_err());
    }
}
