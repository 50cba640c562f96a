//! A table's listeners compiled for matching, and the choice of rule and target group. Used by `worker` and
//! `connection`; pure but for the counters that spread requests over weights.
//!
//! Rules are tried in order; conditions of a rule AND, values of a condition OR ("Listener rules" and
//! "Condition types for listener rules", ELB guide).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use fogbank_types::IpCidr;

use super::pattern::Pattern;
use super::request::Request;
use super::table::{self, FixedResponse, Redirect, Table};

/// One listener, compiled.
#[derive(Debug)]
pub struct Listener {
    pub port: u16,
    rules: Vec<Rule>,
    default_action: Action,
}

#[derive(Debug)]
struct Rule {
    conditions: Vec<Condition>,
    action: Action,
    priority: u32,
}

#[derive(Debug)]
pub enum Action {
    Forward(Forward),
    Redirect(Redirect),
    FixedResponse(FixedResponse),
}

/// Target groups by their place in the table, with weights.
#[derive(Debug)]
pub struct Forward {
    choices: Vec<(usize, u32)>,
    total: u64,
    step: u64,
    requests: AtomicU64,
}

#[derive(Debug)]
enum Condition {
    Host(Vec<Pattern>),
    Path(Vec<Pattern>),
    Header { name: String, values: Vec<Pattern> },
    Method(Vec<String>),
    Query(Vec<(Option<Pattern>, Pattern)>),
    Source(Vec<IpCidr>),
}

/// The action for a request, and the priority of its rule (None: the default rule).
pub struct Matched<'l> {
    pub action: &'l Action,
    pub priority: Option<u32>,
    /// Rules looked at, the default one left out (metric RuleEvaluations).
    pub evaluations: u64,
}

pub fn compile(table: &Table) -> Vec<Listener> {
    let groups: HashMap<&str, usize> = table
        .target_groups
        .iter()
        .enumerate()
        .map(|(place, group)| (group.id.as_str(), place))
        .collect();
    let listener = |listener: &table::Listener| Listener {
        port: listener.port,
        rules: listener
            .rules
            .iter()
            .map(|each| rule(each, &groups))
            .collect(),
        default_action: action(&listener.default_action, &groups),
    };
    table.listeners.iter().map(listener).collect()
}

fn rule(rule: &table::Rule, groups: &HashMap<&str, usize>) -> Rule {
    Rule {
        conditions: rule.conditions.iter().map(condition).collect(),
        action: action(&rule.action, groups),
        priority: rule.priority,
    }
}

fn condition(condition: &table::Condition) -> Condition {
    match condition {
        table::Condition::HostHeader { values } => Condition::Host(
            values
                .iter()
                .map(|value| Pattern::any_case(value))
                .collect(),
        ),
        table::Condition::PathPattern { values } => Condition::Path(
            values
                .iter()
                .map(|value| Pattern::exact_case(value))
                .collect(),
        ),
        table::Condition::HttpHeader { name, values } => Condition::Header {
            name: name.clone(),
            values: values
                .iter()
                .map(|value| Pattern::any_case(value))
                .collect(),
        },
        table::Condition::HttpRequestMethod { values } => Condition::Method(values.clone()),
        table::Condition::QueryString { values } => {
            let pair = |each: &table::QueryPattern| {
                let key = each.key.as_deref().map(Pattern::any_case_with_escapes);
                (key, Pattern::any_case_with_escapes(&each.value))
            };
            Condition::Query(values.iter().map(pair).collect())
        }
        table::Condition::SourceIp { values } => Condition::Source(values.clone()),
        // Never met until regular expressions are compiled here.
        table::Condition::HostHeaderRegex { .. }
        | table::Condition::PathPatternRegex { .. }
        | table::Condition::HttpHeaderRegex { .. } => Condition::Method(Vec::new()),
    }
}

fn action(action: &table::Action, groups: &HashMap<&str, usize>) -> Action {
    match action {
        table::Action::Forward { target_groups, .. } => {
            let place = |each: &table::WeightedGroup| {
                groups
                    .get(each.target_group.as_str())
                    .map(|&place| (place, each.weight))
            };
            Action::Forward(Forward::new(
                target_groups.iter().filter_map(place).collect(),
            ))
        }
        table::Action::Redirect(redirect) => Action::Redirect(redirect.clone()),
        table::Action::FixedResponse(fixed) => Action::FixedResponse(fixed.clone()),
    }
}

impl Listener {
    pub fn matching(&self, request: &Request<'_, '_>, peer: IpAddr) -> Matched<'_> {
        for (tried, rule) in self.rules.iter().enumerate() {
            if rule
                .conditions
                .iter()
                .all(|condition| condition.holds(request, peer))
            {
                let evaluations = tried as u64 + 1;
                return Matched {
                    action: &rule.action,
                    priority: Some(rule.priority),
                    evaluations,
                };
            }
        }
        let evaluations = self.rules.len() as u64;
        Matched {
            action: &self.default_action,
            priority: None,
            evaluations,
        }
    }
}

impl Condition {
    fn holds(&self, request: &Request<'_, '_>, peer: IpAddr) -> bool {
        let any = |patterns: &[Pattern], text: &[u8]| {
            patterns.iter().any(|pattern| pattern.matches(text))
        };
        match self {
            Self::Host(patterns) => any(patterns, request.host_name().as_bytes()),
            Self::Path(patterns) => any(patterns, request.path.as_bytes()),
            Self::Header { name, values } => {
                let of_that_name =
                    |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
                request
                    .headers
                    .iter()
                    .filter(of_that_name)
                    .any(|header| any(values, header.value))
            }
            Self::Method(methods) => methods.iter().any(|method| method == request.method),
            Self::Query(pairs) => request.query.is_some_and(|query| query_holds(pairs, query)),
            Self::Source(blocks) => blocks.iter().any(|block| block.contains(peer)),
        }
    }
}

fn query_holds(wanted: &[(Option<Pattern>, Pattern)], query: &str) -> bool {
    query.split('&').any(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        wanted.iter().any(|(wanted_key, wanted_value)| {
            wanted_key
                .as_ref()
                .is_none_or(|pattern| pattern.matches(key.as_bytes()))
                && wanted_value.matches(value.as_bytes())
        })
    })
}

impl Forward {
    fn new(mut choices: Vec<(usize, u32)>) -> Self {
        // AWS's largest weight; a larger one could only come from a broken table.
        choices
            .iter_mut()
            .for_each(|choice| choice.1 = choice.1.min(999));
        // A single group needs no weight; with several, weight 0 gets nothing unless all have it.
        if choices.iter().all(|&(_, weight)| weight == 0) {
            choices.iter_mut().for_each(|choice| choice.1 = 1);
        }
        let total: u64 = choices.iter().map(|&(_, weight)| u64::from(weight)).sum();
        Self {
            choices,
            total,
            step: spreading_step(total),
            requests: AtomicU64::new(0),
        }
    }

    /// The group for the next request: over `total` requests each gets exactly its weight, well mixed.
    pub fn next(&self) -> Option<usize> {
        if let [(only, _)] = self.choices[..] {
            return Some(only);
        }
        let turn = self.requests.fetch_add(1, Ordering::Relaxed) % self.total.max(1);
        let mut point = turn * self.step % self.total.max(1);
        for &(place, weight) in &self.choices {
            match point.checked_sub(weight.into()) {
                None => return Some(place),
                Some(rest) => point = rest,
            }
        }
        None
    }

    pub fn groups(&self) -> impl Iterator<Item = usize> + '_ {
        self.choices.iter().map(|&(place, _)| place)
    }
}

/// A number without a common factor with `total`, near its golden section: its multiples visit every point
/// once and neighbours in time are far apart.
fn spreading_step(total: u64) -> u64 {
    let common = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let start = (total * 618 / 1000).max(1);
    (start..start + total.max(1))
        .find(|&step| common(step, total) == 1)
        .unwrap_or(1)
}

impl Action {
    pub fn groups(&self) -> impl Iterator<Item = usize> + '_ {
        match self {
            Self::Forward(forward) => Some(forward.groups()),
            _ => None,
        }
        .into_iter()
        .flatten()
    }
}

/// Which target groups the listeners use (the others' targets are `unused`).
pub fn used_groups(listeners: &[Listener]) -> impl Iterator<Item = usize> + '_ {
    listeners.iter().flat_map(|listener| {
        let actions = listener.rules.iter().map(|rule| &rule.action);
        actions
            .chain([&listener.default_action])
            .flat_map(Action::groups)
    })
}

#[cfg(test)]
mod tests;
