//! A table's listeners compiled for matching, and the choice of rule and target group. Used by `worker` and
//! `connection`; pure but for the counters that spread requests over weights.
//!
//! Rules are tried in order; conditions of a rule AND, values of a condition OR ("Listener rules" and
//! "Condition types for listener rules", ELB guide).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fogbank_types::IpCidr;
use regex::bytes::{Regex, RegexBuilder};

use super::guard::{Guard, Logins};
use super::pattern::Pattern;
use super::request::Request;
use super::response_headers::ResponseHeaders;
use super::table::{self, FixedResponse, Redirect, Table};
use super::transform::Transforms;

/// Memory that one compiled expression may take. AWS's are 128 characters long at most.
const REGEX_MAX_BYTES: usize = 1 << 20;

/// One listener, compiled.
#[derive(Debug)]
pub struct Listener {
    pub port: u16,
    /// What its attributes make of responses; None: nothing.
    pub response_headers: Option<Arc<ResponseHeaders>>,
    /// What its users may come back from.
    pub logins: Logins,
    rules: Vec<Rule>,
    default_action: Action,
    default_guard: Option<Arc<Guard>>,
}

#[derive(Debug)]
struct Rule {
    conditions: Vec<Condition>,
    action: Action,
    priority: u32,
    transforms: Option<Box<Transforms>>,
    guard: Option<Arc<Guard>>,
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
    /// Duration of group stickiness, if it is on.
    pub stickiness_s: Option<u64>,
}

#[derive(Debug)]
enum Condition {
    Host(Vec<Pattern>),
    Path(Vec<Pattern>),
    Header { name: String, values: Vec<Pattern> },
    HostRegex(Vec<Regex>),
    PathRegex(Vec<Regex>),
    HeaderRegex { name: String, values: Vec<Regex> },
    Method(Vec<String>),
    Query(Vec<(Option<Pattern>, Pattern)>),
    Source(Vec<IpCidr>),
}

/// The action for a request, and the priority of its rule (None: the default rule).
pub struct Matched<'l> {
    pub action: &'l Action,
    pub priority: Option<u32>,
    pub transforms: Option<&'l Transforms>,
    pub guard: Option<&'l Arc<Guard>>,
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
    let listener = |listener: &table::Listener| {
        let rules: Vec<Rule> = listener
            .rules
            .iter()
            .map(|each| rule(each, &groups))
            .collect();
        let default_guard = guard(listener.default_guard.as_ref());
        let guards = rules.iter().filter_map(|rule| rule.guard.as_deref());
        Listener {
            port: listener.port,
            response_headers: ResponseHeaders::compile(&listener.attributes).map(Arc::new),
            logins: Logins::of(guards.chain(default_guard.as_deref())),
            default_guard,
            rules,
            default_action: action(&listener.default_action, &groups),
        }
    };
    table.listeners.iter().map(listener).collect()
}

fn rule(rule: &table::Rule, groups: &HashMap<&str, usize>) -> Rule {
    Rule {
        conditions: rule.conditions.iter().map(condition).collect(),
        action: action(&rule.action, groups),
        priority: rule.priority,
        transforms: Transforms::compile(&rule.transforms).map(Box::new),
        guard: guard(rule.guard.as_ref()),
    }
}

fn guard(guard: Option<&table::Guard>) -> Option<Arc<Guard>> {
    guard.map(|guard| Arc::new(Guard::compile(guard)))
}

/// "Host header: case-insensitive, path: case-sensitive, HTTP header value: case-insensitive", as their
/// wildcards are (fact LST-4, LST-5). Unanchored, over ASCII. None: it does not compile, and never holds
/// (control refuses such a rule).
pub fn regex(text: &str, ignore_case: bool) -> Option<Regex> {
    let compiled = RegexBuilder::new(text)
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(REGEX_MAX_BYTES)
        .dfa_size_limit(REGEX_MAX_BYTES)
        .build();
    match compiled {
        Ok(regex) => Some(regex),
        Err(error) => {
            tracing::warn!(text, %error, "a regular expression does not compile");
            None
        }
    }
}

fn regexes(values: &[String], ignore_case: bool) -> Vec<Regex> {
    values
        .iter()
        .filter_map(|value| regex(value, ignore_case))
        .collect()
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
        table::Condition::HostHeaderRegex { values } => Condition::HostRegex(regexes(values, true)),
        table::Condition::PathPatternRegex { values } => {
            Condition::PathRegex(regexes(values, false))
        }
        table::Condition::HttpHeaderRegex { name, values } => Condition::HeaderRegex {
            name: name.clone(),
            values: regexes(values, true),
        },
    }
}

fn action(action: &table::Action, groups: &HashMap<&str, usize>) -> Action {
    match action {
        table::Action::Forward {
            target_groups,
            stickiness_s,
        } => {
            let place = |each: &table::WeightedGroup| {
                groups
                    .get(each.target_group.as_str())
                    .map(|&place| (place, each.weight))
            };
            Action::Forward(Forward::new(
                target_groups.iter().filter_map(place).collect(),
                *stickiness_s,
            ))
        }
        table::Action::Redirect(redirect) => Action::Redirect(redirect.clone()),
        table::Action::FixedResponse(fixed) => Action::FixedResponse(fixed.clone()),
    }
}

impl Listener {
    pub fn default_action(&self) -> &Action {
        &self.default_action
    }

    pub fn matching(&self, request: &Request<'_, '_>, peer: IpAddr) -> Matched<'_> {
        let asked = Asked {
            request,
            host: request.host_name().as_bytes(),
            peer,
        };
        for (tried, rule) in self.rules.iter().enumerate() {
            if rule
                .conditions
                .iter()
                .all(|condition| condition.holds(&asked))
            {
                let evaluations = tried as u64 + 1;
                return Matched {
                    action: &rule.action,
                    priority: Some(rule.priority),
                    transforms: rule.transforms.as_deref(),
                    guard: rule.guard.as_ref(),
                    evaluations,
                };
            }
        }
        let evaluations = self.rules.len() as u64;
        Matched {
            action: &self.default_action,
            priority: None,
            transforms: None,
            guard: self.default_guard.as_ref(),
            evaluations,
        }
    }
}

/// A request, with what many conditions look at.
struct Asked<'a, 'h, 'b> {
    request: &'a Request<'h, 'b>,
    host: &'a [u8],
    peer: IpAddr,
}

impl Asked<'_, '_, '_> {
    fn any_header(&self, name: &str, holds: impl Fn(&[u8]) -> bool) -> bool {
        let headers = self.request.headers.iter();
        headers
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .any(|header| holds(header.value))
    }
}

impl Condition {
    fn holds(&self, asked: &Asked<'_, '_, '_>) -> bool {
        let any = |patterns: &[Pattern], text: &[u8]| {
            patterns.iter().any(|pattern| pattern.matches(text))
        };
        let any_regex =
            |values: &[Regex], text: &[u8]| values.iter().any(|value| value.is_match(text));
        let request = asked.request;
        match self {
            Self::Host(patterns) => any(patterns, asked.host),
            Self::Path(patterns) => any(patterns, request.path.as_bytes()),
            Self::Header { name, values } => asked.any_header(name, |text| any(values, text)),
            Self::HostRegex(values) => any_regex(values, asked.host),
            Self::PathRegex(values) => any_regex(values, request.path.as_bytes()),
            Self::HeaderRegex { name, values } => {
                asked.any_header(name, |text| any_regex(values, text))
            }
            Self::Method(methods) => methods.iter().any(|method| method == request.method),
            Self::Query(pairs) => request.query.is_some_and(|query| query_holds(pairs, query)),
            Self::Source(blocks) => blocks.iter().any(|block| block.contains(asked.peer)),
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
    fn new(mut choices: Vec<(usize, u32)>, stickiness_s: Option<u64>) -> Self {
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
            stickiness_s,
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

    /// Those that may be chosen: with weight 0 only if all have it.
    pub fn chosen_from(&self) -> impl Iterator<Item = usize> + '_ {
        let choices = self.choices.iter();
        choices.filter(|choice| choice.1 > 0).map(|choice| choice.0)
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
