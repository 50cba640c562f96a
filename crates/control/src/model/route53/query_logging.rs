//! Configurations of query logging: the log group that queries for a public zone go to.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_CreateQueryLoggingConfig.html>
//!
//! CloudWatch Logs' resource policies are not offered by this region, so that none can be missing.

use super::{Refusal, invalid, zones};
use crate::model::logs;
use crate::model::tx::Tx;
use fogbank_types::route53::{EDGE_LOCATION, QueryLoggingConfig};
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// Where the log group has to be.
const REGION: &str = "us-east-1";

pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    zone_id: &str,
    log_group_arn: &str,
) -> Result<QueryLoggingConfig, Refusal> {
    let zone = zones::find(tx.snapshot(), scope, zone_id)?;
    if zone.private {
        return Err(invalid(
            "Query logging can be configured for public hosted zones only",
        ));
    }
    let name = group_name(scope, log_group_arn)?;
    if of_zone(tx.snapshot(), scope, zone_id).is_some() {
        return Err(Refusal::QueryLoggingConfigAlreadyExists);
    }
    let logs = Scope::new(&scope.account, REGION);
    if !tx.snapshot().log_groups.contains(&logs, name) {
        return Err(Refusal::NoSuchLogGroup);
    }
    let row = QueryLoggingConfig {
        scope: scope.clone(),
        id: tx.uuid(),
        zone_id: zone_id.to_owned(),
        log_group_arn: log_group_arn.to_owned(),
        stream_uid: None,
    };
    tx.put(row.clone());
    Ok(row)
}

/// The log group's name; its ARN may end in `:*`.
fn group_name<'a>(scope: &Scope, arn: &'a str) -> Result<&'a str, Refusal> {
    let wrong = || invalid("The ARN for the CloudWatch Logs log group is invalid.");
    let start = Scope::new(&scope.account, REGION).arn("logs", "log-group:");
    let name = arn.strip_prefix(&start).ok_or_else(wrong)?;
    let name = name.strip_suffix(":*").unwrap_or(name);
    match name.is_empty() || name.contains([':', '*']) {
        true => Err(wrong()),
        false => Ok(name),
    }
}

fn of_zone<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    zone_id: &str,
) -> Option<&'a Arc<QueryLoggingConfig>> {
    let mut rows = snapshot.query_logging_configs.in_scope(scope);
    rows.find(|row| row.zone_id == zone_id)
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<QueryLoggingConfig>, Refusal> {
    let row = snapshot.query_logging_configs.get(scope, id);
    row.ok_or(Refusal::NoSuchQueryLoggingConfig)
}

/// All, or the one of a zone.
pub fn list(
    snapshot: &Snapshot,
    scope: &Scope,
    zone_id: Option<&str>,
) -> Result<Vec<Arc<QueryLoggingConfig>>, Refusal> {
    if let Some(zone_id) = zone_id {
        zones::find(snapshot, scope, zone_id)?;
    }
    let rows = snapshot.query_logging_configs.in_scope(scope);
    let wanted = |row: &&Arc<QueryLoggingConfig>| zone_id.is_none_or(|id| row.zone_id == id);
    Ok(rows.filter(wanted).cloned().collect())
}

pub fn delete(tx: &mut Tx, scope: &Scope, id: &str) -> Result<(), Refusal> {
    find(tx.snapshot(), scope, id)?;
    tx.delete::<QueryLoggingConfig>(scope, id);
    Ok(())
}

/// The stream that the name servers append to: one for each edge location, made anew when it was deleted. Without the log
/// group nothing is logged, until there is one of its name again.
pub fn keep_stream(tx: &mut Tx, config: &QueryLoggingConfig) {
    let uid = stream_uid(tx, config);
    if uid != config.stream_uid {
        let set = |row: &mut QueryLoggingConfig| row.stream_uid = uid;
        tx.update(&config.scope, &config.id, set);
    }
}

fn stream_uid(tx: &mut Tx, config: &QueryLoggingConfig) -> Option<String> {
    let group = group_name(&config.scope, &config.log_group_arn).ok()?;
    let scope = Scope::new(&config.scope.account, REGION);
    if !tx.snapshot().log_groups.contains(&scope, group) {
        return None;
    }
    let name = format!("{}/{EDGE_LOCATION}", config.zone_id);
    let streams = &tx.snapshot().log_streams;
    if let Some(stream) = streams.get(&scope, format!("{group}:{name}")) {
        return Some(stream.uid.clone());
    }
    let made = logs::streams::create(tx, &scope, group, &name);
    let made = made.expect("ids are a name, the group is there and the stream is not");
    Some(made.uid)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{scope, zone};
    use super::*;
    use fogbank_types::logs::LogGroup;

    fn group(tx: &mut Tx, region: &str) {
        tx.put(LogGroup {
            key_pairs: Vec::new(),
            scope: Scope::new("000000000000", region),
            name: "/aws/route53/example".to_owned(),
            retention_days: None,
            kms_key_id: None,
            class: "STANDARD".to_owned(),
            created_at: tx.now(),
            tags: Default::default(),
        });
    }

    const ARN: &str = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/route53/example";

    #[test]
    fn a_zone_has_one_configuration_which_goes_with_it() {
        let mut tx = Tx::for_test();
        let id = zone(&mut tx, "example.test").id;
        group(&mut tx, "eu-west-1");
        assert_eq!(
            create(&mut tx, &scope(), &id, ARN),
            Err(Refusal::NoSuchLogGroup)
        );
        group(&mut tx, "us-east-1");
        let made = create(&mut tx, &scope(), &id, ARN).unwrap();
        let again = create(&mut tx, &scope(), &id, &format!("{ARN}:*"));
        assert_eq!(again, Err(Refusal::QueryLoggingConfigAlreadyExists));
        assert_eq!(list(tx.snapshot(), &scope(), Some(&id)).unwrap().len(), 1);
        delete(&mut tx, &scope(), &made.id).unwrap();
        assert_eq!(
            delete(&mut tx, &scope(), &made.id),
            Err(Refusal::NoSuchQueryLoggingConfig)
        );
        create(&mut tx, &scope(), &id, ARN).unwrap();
        zones::delete(&mut tx, &scope(), &id).unwrap();
        assert!(tx.snapshot().query_logging_configs.is_empty());
    }

    #[test]
    fn a_configuration_has_a_stream_as_long_as_there_is_its_group() {
        let mut tx = Tx::for_test();
        let id = zone(&mut tx, "example.test").id;
        group(&mut tx, REGION);
        let made = create(&mut tx, &scope(), &id, ARN).unwrap();
        let kept = |tx: &mut Tx| {
            let row = find(tx.snapshot(), &scope(), &made.id).unwrap().clone();
            keep_stream(tx, &row);
            let row = find(tx.snapshot(), &scope(), &made.id).unwrap();
            row.stream_uid.clone()
        };
        let first = kept(&mut tx);
        assert!(first.is_some());
        assert_eq!(kept(&mut tx), first, "it converges");
        let logs_scope = Scope::new("000000000000", REGION);
        let (group_name, stream) = ("/aws/route53/example", format!("{id}/IAD12"));
        let deleted = logs::streams::delete(&mut tx, &logs_scope, group_name, &stream);
        assert_eq!(Some(deleted.unwrap()), first);
        let second = kept(&mut tx);
        assert!(second.is_some() && second != first);
        logs::groups::delete(&mut tx, &logs_scope, group_name).unwrap();
        assert_eq!(kept(&mut tx), None);
        group(&mut tx, REGION);
        assert!(kept(&mut tx).is_some());
    }

    #[test]
    fn arns_that_are_refused() {
        let mut tx = Tx::for_test();
        let id = zone(&mut tx, "example.test").id;
        for arn in [
            "x",
            "arn:aws:logs:eu-west-1:000000000000:log-group:a",
            "arn:aws:logs:us-east-1:111111111111:log-group:a",
            "arn:aws:logs:us-east-1:000000000000:log-group:",
            "arn:aws:logs:us-east-1:000000000000:log-group:a:log-stream:b",
        ] {
            let refused = create(&mut tx, &scope(), &id, arn);
            assert!(matches!(refused, Err(Refusal::InvalidInput(_))), "{arn}");
        }
    }
}
