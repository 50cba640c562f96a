//! Listeners: a port of a load balancer and its default action (fact LST-1).

use super::listener_tls::{self, TlsSettings};
use super::{
    Refusal, actions, arns, authentication, invalid, limits, listener_attributes, load_balancers,
    rules, tags,
};
use crate::model::tx::Tx;
use fogbank_types::elb::{Action, Listener, LoadBalancer};
use fogbank_types::{Scope, Tags};

/// What a caller wants.
#[derive(Clone, Debug)]
pub struct NewListener {
    pub load_balancer_arn: String,
    pub port: u16,
    pub protocol: String,
    pub tls: TlsSettings,
    pub default_actions: Vec<Action>,
    pub tags: Tags,
}

/// What a caller names of a listener; the rest stays.
#[derive(Clone, Debug, Default)]
pub struct ListenerChange {
    pub port: Option<u16>,
    pub protocol: Option<String>,
    pub tls: TlsSettings,
    pub default_actions: Option<Vec<Action>>,
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
    if count >= limits::Limits::of(tx.config()).listeners_per_load_balancer {
        return Err(Refusal::TooManyListeners(arn.clone()));
    }
    let tail = tx.hex(16);
    let mut row = Listener {
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
    listener_tls::apply(tx, scope, &mut row, new.tls)?;
    check_actions(tx, &load_balancer, &row, &row.default_actions)?;
    tx.put(row.clone());
    Ok(row)
}

fn check_actions(
    tx: &Tx,
    load_balancer: &LoadBalancer,
    row: &Listener,
    actions: &[Action],
) -> Result<(), Refusal> {
    let place = actions::Place {
        load_balancer,
        port: row.port,
        protocol: &row.protocol,
    };
    actions::check(tx, place, actions)
}

/// Only what is named changes.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    change: ListenerChange,
) -> Result<Listener, Refusal> {
    let mut row = Listener::clone(arns::find_listener(tx.snapshot(), scope, arn)?);
    let load_balancer = LoadBalancer::clone(arns::find_load_balancer(
        tx.snapshot(),
        scope,
        &row.load_balancer_arn,
    )?);
    let moves = change.protocol.as_ref().is_some_and(|p| *p != row.protocol);
    if let Some(protocol) = change.protocol {
        check_protocol(&protocol)?;
        row.protocol = protocol;
    }
    if let Some(port) = change.port {
        check_port_is_free(tx, scope, &load_balancer, port, Some(arn))?;
        row.port = port;
    }
    if let Some(mut default_actions) = change.default_actions {
        authentication::keep_secrets(&row.default_actions, &mut default_actions);
        row.default_actions = default_actions;
    }
    listener_tls::apply(tx, scope, &mut row, change.tls)?;
    check_actions(tx, &load_balancer, &row, &row.default_actions)?;
    if moves {
        // What only HTTPS has must not stay in a rule.
        for rule in rules::of_listener(tx.snapshot(), scope, arn) {
            check_actions(tx, &load_balancer, &row, &rule.actions)?;
        }
        row.attributes
            .retain(|key, _| listener_attributes::is_known(&row.protocol, key));
    }
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
        "HTTP" | "HTTPS" => Ok(()),
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
            tls: TlsSettings::default(),
            default_actions: vec![action],
            tags: Tags::new(),
        }
    }

    fn to_port(port: u16) -> ListenerChange {
        ListenerChange {
            port: Some(port),
            ..ListenerChange::default()
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
        let moved = modify(&mut region.tx, &scope, &second.arn, to_port(80));
        assert!(matches!(moved, Err(Refusal::DuplicateListener { .. })));
        modify(&mut region.tx, &scope, &first.arn, to_port(80)).unwrap();
        modify(&mut region.tx, &scope, &second.arn, to_port(82)).unwrap();
    }

    #[test]
    fn refusals() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
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
        assert!(modify(&mut region.tx, &scope, "x", to_port(80)).is_err());
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
