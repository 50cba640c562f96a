//! Listeners: a port of a load balancer and its default action (fact LST-1).

use super::{Refusal, actions, arns, invalid, limits, load_balancers, not_offered, tags};
use crate::model::tx::Tx;
use fogbank_types::elb::{Action, Listener, LoadBalancer};
use fogbank_types::{Scope, Tags};

/// What a caller wants.
#[derive(Clone, Debug)]
pub struct NewListener {
    pub load_balancer_arn: String,
    pub port: u16,
    pub protocol: String,
    pub default_actions: Vec<Action>,
    pub tags: Tags,
}

/// Creates it; one that is there with that port is refused.
pub fn create(tx: &mut Tx, scope: &Scope, new: NewListener) -> Result<Listener, Refusal> {
    let arn = &new.load_balancer_arn;
    let load_balancer = LoadBalancer::clone(arns::find_load_balancer(tx.snapshot(), scope, arn)?);
    check_protocol(&new.protocol)?;
    tags::check(&new.tags, arn)?;
    check_port_is_free(tx, scope, &load_balancer, new.port, None)?;
    let listeners = arns::listeners_prefix(arn);
    let count = tx
        .snapshot()
        .listeners
        .with_prefix(scope, &listeners)
        .count();
    if count >= limits::LISTENERS_PER_LOAD_BALANCER {
        return Err(Refusal::TooManyListeners(arn.clone()));
    }
    actions::check(tx, &load_balancer, new.port, &new.default_actions)?;
    let tail = tx.hex(16);
    let row = Listener {
        certificates: Vec::new(),
        mutual_authentication: None,
        ssl_policy: None,
        scope: scope.clone(),
        arn: arns::listener(arn, &tail),
        load_balancer_arn: arn.clone(),
        port: new.port,
        protocol: new.protocol,
        default_actions: new.default_actions,
        attributes: Default::default(),
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(row.clone());
    Ok(row)
}

/// Only what is named changes.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    port: Option<u16>,
    protocol: Option<String>,
    default_actions: Option<Vec<Action>>,
) -> Result<Listener, Refusal> {
    let mut row = Listener::clone(arns::find_listener(tx.snapshot(), scope, arn)?);
    let load_balancer = LoadBalancer::clone(arns::find_load_balancer(
        tx.snapshot(),
        scope,
        &row.load_balancer_arn,
    )?);
    if let Some(protocol) = protocol {
        check_protocol(&protocol)?;
        row.protocol = protocol;
    }
    if let Some(port) = port {
        check_port_is_free(tx, scope, &load_balancer, port, Some(arn))?;
        row.port = port;
    }
    if let Some(default_actions) = default_actions {
        row.default_actions = default_actions;
    }
    actions::check(tx, &load_balancer, row.port, &row.default_actions)?;
    tx.put(row.clone());
    Ok(row)
}

/// With its rules. One that is not there is refused.
pub fn delete(tx: &mut Tx, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    arns::find_listener(tx.snapshot(), scope, arn)?;
    load_balancers::drop_listener(tx, scope, arn);
    Ok(())
}

fn check_protocol(protocol: &str) -> Result<(), Refusal> {
    match protocol {
        "HTTP" => Ok(()),
        "HTTPS" => Err(not_offered("Listener protocol 'HTTPS'")),
        other => Err(invalid(format!(
            "Listener protocol '{other}' must be one of 'HTTP, HTTPS'"
        ))),
    }
}

fn check_port_is_free(
    tx: &Tx,
    scope: &Scope,
    load_balancer: &LoadBalancer,
    port: u16,
    own: Option<&str>,
) -> Result<(), Refusal> {
    let prefix = arns::listeners_prefix(&load_balancer.arn);
    let mut others = tx.snapshot().listeners.with_prefix(scope, &prefix);
    if others.any(|l| l.port == port && Some(l.arn.as_str()) != own) {
        return Err(Refusal::DuplicateListener {
            load_balancer_arn: load_balancer.arn.clone(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Region, fixed_response, forward};
    use super::*;

    fn new(arn: &str, port: u16, protocol: &str, action: Action) -> NewListener {
        NewListener {
            load_balancer_arn: arn.to_owned(),
            port,
            protocol: protocol.to_owned(),
            default_actions: vec![action],
            tags: Tags::new(),
        }
    }

    #[test]
    fn one_listener_a_port() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let first = region.listener(&lb.arn, 80);
        let second = region.listener(&lb.arn, 81);
        let again = create(
            &mut region.tx,
            &scope,
            new(&lb.arn, 80, "HTTP", fixed_response(200)),
        );
        assert!(matches!(again, Err(Refusal::DuplicateListener { .. })));
        let moved = modify(&mut region.tx, &scope, &second.arn, Some(80), None, None);
        assert!(matches!(moved, Err(Refusal::DuplicateListener { .. })));
        modify(&mut region.tx, &scope, &first.arn, Some(80), None, None).unwrap();
        modify(&mut region.tx, &scope, &second.arn, Some(82), None, None).unwrap();
    }

    #[test]
    fn refusals() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let https = create(
            &mut region.tx,
            &scope,
            new(&lb.arn, 443, "HTTPS", fixed_response(200)),
        );
        assert!(https.unwrap_err().to_string().contains("not offered"));
        let tcp = create(
            &mut region.tx,
            &scope,
            new(&lb.arn, 1, "TCP", fixed_response(200)),
        );
        assert!(matches!(tcp, Err(Refusal::Validation(_))));
        let gone = arns::load_balancer(&scope, "gone", "0123456789abcdef");
        let lost = create(
            &mut region.tx,
            &scope,
            new(&gone, 1, "HTTP", fixed_response(200)),
        );
        assert_eq!(lost, Err(Refusal::LoadBalancerNotFound));
        let nowhere = create(
            &mut region.tx,
            &scope,
            new(&lb.arn, 1, "HTTP", forward(&[])),
        );
        assert!(nowhere.is_err());
        assert_eq!(region.tx.snapshot().listeners.len(), 0);
        let arn = arns::listener(&lb.arn, "0123456789abcdef");
        assert_eq!(
            delete(&mut region.tx, &scope, &arn),
            Err(Refusal::ListenerNotFound)
        );
        assert!(modify(&mut region.tx, &scope, "x", None, None, None).is_err());
    }

    #[test]
    fn rules_go_with_their_listener() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let listener = region.listener(&lb.arn, 80);
        region.rule(&listener.arn, 1);
        delete(&mut region.tx, &scope, &listener.arn).unwrap();
        assert!(region.tx.snapshot().listener_rules.is_empty());
    }
}
