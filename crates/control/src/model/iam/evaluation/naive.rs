//! The same rules written a second time, as AWS's prose has them, short and slow, straight from JSON: tests hold the engine
//! against this. It shares no code with it.

use super::party::{Party, PartyKind};
use serde_json::Value;
use std::collections::BTreeMap;

pub type Request = BTreeMap<String, Vec<String>>;

/// The policies that bear on a request, as JSON.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    pub identity: Vec<Value>,
    pub boundary: Option<Value>,
    pub session: Option<Value>,
    pub resource: Option<Value>,
    pub resource_is_required: bool,
    pub resource_account: String,
}

/// Whether the request is allowed.
pub fn allows(
    policies: &Policies,
    party: &Party,
    action: &str,
    arn: &str,
    request: &Request,
) -> bool {
    let ask = |effect: &str, policy: &Value| {
        let has = |statement: &&Value| {
            statement["Effect"] == effect && concerns(policy, statement, action, arn, request)
        };
        list(&policy["Statement"])
            .into_iter()
            .filter(has)
            .cloned()
            .collect::<Vec<Value>>()
    };
    let optional = [&policies.boundary, &policies.session];
    let own: Vec<&Value> = policies
        .identity
        .iter()
        .chain(optional.into_iter().flatten())
        .collect();
    if party.kind != PartyKind::Root && own.iter().any(|policy| !ask("Deny", policy).is_empty()) {
        return false;
    }
    let granted: Vec<u8> = match &policies.resource {
        None => Vec::new(),
        Some(policy) => {
            if ask("Deny", policy).iter().any(|s| closeness(s, party) > 0) {
                return false;
            }
            ask("Allow", policy)
                .iter()
                .map(|s| closeness(s, party))
                .filter(|c| *c > 0)
                .collect()
        }
    };
    let closest = granted.into_iter().max().unwrap_or(0);
    let permits =
        |policy: &Option<Value>| policy.as_ref().is_none_or(|p| !ask("Allow", p).is_empty());
    let limits = permits(&policies.boundary) && permits(&policies.session);
    let identity = policies
        .identity
        .iter()
        .any(|policy| !ask("Allow", policy).is_empty());
    let own_side = party.kind == PartyKind::Root || identity && limits;
    if party.account != policies.resource_account {
        return own_side && closest > 0;
    }
    if policies.resource_is_required && closest == 0 {
        return false;
    }
    own_side || closest == 3 || closest == 2 && limits
}

/// 3: they themselves or everybody, 2: their role, 1: their account, 0: not meant.
fn closeness(statement: &Value, party: &Party) -> u8 {
    let score = |principal: &Value| -> u8 {
        if *principal == "*" {
            return 3;
        }
        let names = list(&principal["AWS"]);
        let best = names.iter().map(|name| {
            let name = name.as_str().unwrap();
            let root = format!("arn:aws:iam::{}:root", party.account);
            if name == "*" || name == party.arn {
                3
            } else if matches!(&party.kind, PartyKind::Session { role_arn, .. } if name == role_arn)
            {
                2
            } else if name == party.account || name == root {
                if party.kind == PartyKind::Root { 3 } else { 1 }
            } else {
                0
            }
        });
        best.max().unwrap_or(0)
    };
    match statement.get("NotPrincipal") {
        Some(principal) if score(principal) == 3 => 0,
        Some(_) => 3,
        None => score(&statement["Principal"]),
    }
}

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(all) => all.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn concerns(policy: &Value, statement: &Value, action: &str, arn: &str, request: &Request) -> bool {
    let fills = policy["Version"] == "2012-10-17";
    let any = |key: &str, test: &dyn Fn(&str) -> bool| {
        statement
            .get(key)
            .map(|value| list(value).iter().any(|text| test(text.as_str().unwrap())))
    };
    let act = |text: &str| {
        let pattern: Vec<(char, bool)> = text.to_lowercase().chars().map(|c| (c, true)).collect();
        glob(&pattern, &action.to_lowercase(), false)
    };
    let resource = |text: &str| {
        // What an ARN leaves out at its end may be anything.
        let colons = text.matches(':').count();
        let short = text.starts_with("arn:") && colons < 5;
        let text = format!("{text}{}", ":*".repeat(if short { 5 - colons } else { 0 }));
        let filled = fill(&text, fills, request);
        filled.is_some_and(|pattern| glob(&pattern, arn, true))
    };
    let acts = any("Action", &act)
        .or_else(|| any("NotAction", &act).map(|is| !is))
        .unwrap();
    let is_for = any("Resource", &resource).or_else(|| any("NotResource", &resource).map(|is| !is));
    let conditions = statement.get("Condition").and_then(Value::as_object);
    acts && is_for.unwrap_or(true)
        && conditions.into_iter().flatten().all(|(operator, keys)| {
            keys.as_object().unwrap().iter().all(|(key, wanted)| {
                let wanted: Vec<String> = list(wanted)
                    .into_iter()
                    .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                    .collect();
                holds(
                    operator,
                    request.get(&key.to_lowercase()),
                    &wanted,
                    fills,
                    request,
                )
            })
        })
}

/// Characters, and whether each may be a wildcard. `None`: a variable has no value.
fn fill(text: &str, fills: bool, request: &Request) -> Option<Vec<(char, bool)>> {
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if fills && rest.starts_with("${") && rest.contains('}') {
            let end = rest.find('}').unwrap();
            let name = &rest[2..end];
            rest = &rest[end + 1..];
            if ["*", "?", "$"].contains(&name) {
                out.push((name.chars().next().unwrap(), false));
                continue;
            }
            let (key, default) = match name.split_once(',') {
                Some((key, default)) => (key, Some(default.trim().trim_matches('\'').to_owned())),
                None => (name, None),
            };
            let value = match request.get(&key.trim().to_lowercase()) {
                Some(values) if values.len() == 1 => values[0].clone(),
                Some(_) => return None,
                None => default?,
            };
            out.extend(value.chars().map(|c| (c, false)));
            continue;
        }
        let first = rest.chars().next().unwrap();
        out.push((first, true));
        rest = &rest[first.len_utf8()..];
    }
    Some(out)
}

fn glob(pattern: &[(char, bool)], text: &str, narrow: bool) -> bool {
    let Some(((first, wild), rest)) = pattern.split_first() else {
        return text.is_empty();
    };
    let mut chars = text.chars();
    match (first, wild) {
        ('*', true) => {
            if glob(rest, text, narrow) {
                return true;
            }
            let ends_part = rest.is_empty() || rest[0].0 == ':';
            match chars.next() {
                Some(':') if narrow && !ends_part => false,
                Some(_) => glob(pattern, chars.as_str(), narrow),
                None => false,
            }
        }
        ('?', true) => match chars.next() {
            Some(':') if narrow => false,
            Some(_) => glob(rest, chars.as_str(), narrow),
            None => false,
        },
        (own, _) => chars.next() == Some(*own) && glob(rest, chars.as_str(), narrow),
    }
}

fn holds(
    operator: &str,
    given: Option<&Vec<String>>,
    wanted: &[String],
    fills: bool,
    request: &Request,
) -> bool {
    let given: Vec<&str> = given.into_iter().flatten().map(String::as_str).collect();
    if operator == "Null" {
        return wanted
            .iter()
            .any(|w| (w.to_lowercase() == "true") == given.is_empty());
    }
    let (set, plain) = operator.split_once(':').unwrap_or(("", operator));
    let lenient = plain.ends_with("IfExists");
    let plain = plain.trim_end_matches("IfExists");
    let negated = plain.contains("Not");
    let positive = plain.replace("Not", "");
    if given.is_empty() {
        return lenient || set == "ForAllValues" || set.is_empty() && negated;
    }
    let is_any = |value: &str| {
        wanted
            .iter()
            .any(|w| compare(&positive, value, w, fills, request))
    };
    match set {
        "ForAllValues" => given.iter().all(|value| is_any(value) != negated),
        "ForAnyValue" => given.iter().any(|value| is_any(value) != negated),
        _ if negated => !given.iter().any(|value| is_any(value)),
        _ => given.iter().any(|value| is_any(value)),
    }
}

fn compare(operator: &str, value: &str, wanted: &str, fills: bool, request: &Request) -> bool {
    let literal = |text: &str| {
        let filled = fill(text, fills, request)?;
        Some(filled.into_iter().map(|(c, _)| c).collect::<String>())
    };
    let numbers = || Some((value.parse::<f64>().ok()?, wanted.parse::<f64>().ok()?));
    match operator {
        "StringEquals" => literal(wanted).as_deref() == Some(value),
        "StringEqualsIgnoreCase" => {
            literal(wanted).is_some_and(|text| text.to_lowercase() == value.to_lowercase())
        }
        "StringLike" => fill(wanted, fills, request).is_some_and(|p| glob(&p, value, false)),
        "ArnLike" | "ArnEquals" => {
            let Some(pattern) = fill(wanted, fills, request) else {
                return false;
            };
            let mut parts: Vec<Vec<(char, bool)>> = vec![Vec::new()];
            for item in pattern {
                if item.0 == ':' && parts.len() < 6 {
                    parts.push(Vec::new());
                } else {
                    parts.last_mut().unwrap().push(item);
                }
            }
            if parts == [vec![('*', true)]] {
                return true;
            }
            let values: Vec<&str> = value.splitn(6, ':').collect();
            parts.len() == 6
                && values.len() == 6
                && (0..6).all(|n| glob(&parts[n], values[n], false))
        }
        "NumericEquals" => numbers().is_some_and(|(v, w)| v == w),
        "NumericLessThan" => numbers().is_some_and(|(v, w)| v < w),
        "NumericGreaterThanEquals" => numbers().is_some_and(|(v, w)| v >= w),
        "Bool" => {
            let wanted = wanted.to_lowercase();
            ["true", "false"].contains(&wanted.as_str()) && value.to_lowercase() == wanted
        }
        "IpAddress" => {
            // Of 10.a.b.c only, by text.
            let (network, bits) = wanted.split_once('/').unwrap_or((wanted, "32"));
            let octets = bits.parse::<usize>().unwrap() / 8;
            let front = |text: &str| {
                text.split('.')
                    .take(octets)
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            front(network) == front(value)
        }
        other => panic!("{other} is not asked of the naive evaluator"),
    }
}
