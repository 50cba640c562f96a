//! What a listener or rule does with a request (facts LST-2, LST-7 to LST-10).
//!
//! A row holds exactly one terminal action; authentication actions need HTTPS listeners and come with them.

use super::load_balancers::check_group_count;
use super::{Refusal, arns, invalid, limits, usage};
use crate::model::tx::Tx;
use fogbank_types::elb::{Action, ActionKind, LoadBalancer, WeightedGroup};
use std::collections::BTreeSet;

const CONTENT_TYPES: [&str; 5] = [
    "text/plain",
    "text/css",
    "text/html",
    "application/javascript",
    "application/json",
];

/// Whether these can be the actions of a listener or rule of that load balancer. `listener_port` is where it listens.
pub fn check(
    tx: &Tx,
    load_balancer: &LoadBalancer,
    listener_port: u16,
    actions: &[Action],
) -> Result<(), Refusal> {
    let [action] = actions else {
        return Err(match actions {
            [] => invalid("At least one action must be specified"),
            _ => Refusal::InvalidLoadBalancerAction(
                "You can specify only one of the following action types: 'forward', 'redirect', 'fixed-response'"
                    .to_owned(),
            ),
        });
    };
    match &action.kind {
        ActionKind::Forward {
            groups,
            stickiness_seconds,
            ..
        } => {
            if stickiness_seconds.is_some_and(|seconds| !(1..=604_800).contains(&seconds)) {
                return Err(invalid(
                    "The target group stickiness duration must be between '1' and '604800' seconds",
                ));
            }
            check_forward(tx, load_balancer, groups)
        }
        ActionKind::Redirect { .. } => check_redirect(listener_port, &action.kind),
        ActionKind::FixedResponse {
            status,
            content_type,
            body,
        } => check_fixed_response(*status, content_type.as_deref(), body.as_deref()),
        ActionKind::AuthenticateOidc(_) | ActionKind::JwtValidation(_) => Err(invalid(
            "An action of type 'forward', 'redirect' or 'fixed-response' must be specified",
        )),
    }
}

fn check_forward(
    tx: &Tx,
    load_balancer: &LoadBalancer,
    groups: &[WeightedGroup],
) -> Result<(), Refusal> {
    if groups.is_empty() {
        return Err(invalid(
            "A target group ARN must be specified for an action of type 'forward'",
        ));
    }
    if groups.len() > limits::TARGET_GROUPS_PER_ACTION {
        return Err(Refusal::TooManyActions(format!(
            "A forward action can have at most '{}' target groups",
            limits::TARGET_GROUPS_PER_ACTION
        )));
    }
    let mut seen = BTreeSet::new();
    for WeightedGroup {
        target_group_arn: arn,
        weight,
    } in groups
    {
        if !seen.insert(arn) {
            return Err(invalid(format!(
                "Target group '{arn}' is specified more than once"
            )));
        }
        if *weight > 999 {
            return Err(invalid(format!(
                "The weight '{weight}' of target group '{arn}' must be between '0' and '999' inclusive"
            )));
        }
        let group = arns::find_target_group(tx.snapshot(), &load_balancer.scope, arn)?;
        if group.vpc_id != load_balancer.vpc_id {
            return Err(Refusal::InvalidConfigurationRequest(format!(
                "The following target groups are not in the VPC of the load balancer '{}': '{arn}'",
                load_balancer.vpc_id
            )));
        }
        let user = usage::load_balancer_of(tx.snapshot(), &load_balancer.scope, arn);
        if user.is_some_and(|user| user != load_balancer.arn) {
            return Err(Refusal::TargetGroupAssociationLimit(arn.clone()));
        }
    }
    let arns = groups.iter().map(|g| g.target_group_arn.as_str());
    check_group_count(tx, &load_balancer.scope, &load_balancer.arn, arns)
}

fn check_redirect(listener_port: u16, kind: &ActionKind) -> Result<(), Refusal> {
    let ActionKind::Redirect {
        status,
        protocol,
        host,
        port,
        path,
        query,
    } = kind
    else {
        return Ok(());
    };
    if !matches!(status, 301 | 302) {
        return Err(invalid(format!(
            "The redirect status code 'HTTP_{status}' must be 'HTTP_301' or 'HTTP_302'"
        )));
    }
    let texts = [("host", host), ("path", path), ("query", query)];
    for (name, text) in texts
        .into_iter()
        .filter_map(|(n, t)| Some((n, t.as_ref()?)))
    {
        if text.chars().count() > 128 || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(invalid(format!(
                "The redirect {name} '{text}' is not valid"
            )));
        }
        check_placeholders(name, text)?;
    }
    if !matches!(
        protocol.as_deref(),
        None | Some("HTTP" | "HTTPS" | "#{protocol}")
    ) {
        return Err(invalid(
            "The redirect protocol must be one of 'HTTP', 'HTTPS', '#{protocol}'",
        ));
    }
    if host.as_ref().is_some_and(String::is_empty) {
        return Err(invalid("The redirect host cannot be empty"));
    }
    if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
        return Err(invalid("The redirect path must begin with '/'"));
    }
    if let Some(port) = port.as_deref().filter(|port| *port != "#{port}") {
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        if !digits || port.parse::<u16>().is_ok_and(|p| p == 0) || port.parse::<u16>().is_err() {
            return Err(invalid(format!(
                "The redirect port '{port}' must be '#{{port}}' or in the range 1-65535"
            )));
        }
    }
    let keeps = |part: &Option<String>, same: &str| part.as_deref().is_none_or(|p| p == same);
    let keeps_port = keeps(port, "#{port}") || port.as_deref() == Some(&listener_port.to_string());
    let keeps_protocol = keeps(protocol, "#{protocol}") || protocol.as_deref() == Some("HTTP");
    if keeps_protocol && keeps_port && keeps(host, "#{host}") && keeps(path, "/#{path}") {
        return Err(Refusal::InvalidLoadBalancerAction(
            "The redirect configuration is not valid because it creates a loop.".to_owned(),
        ));
    }
    Ok(())
}

/// `#{...}` names a part of the request (fact LST-9).
fn check_placeholders(name: &str, text: &str) -> Result<(), Refusal> {
    let known = |rest: &str| {
        ["protocol}", "host}", "port}", "path}", "query}"]
            .iter()
            .any(|p| rest.starts_with(p))
    };
    if text.split("#{").skip(1).all(known) {
        Ok(())
    } else {
        Err(invalid(format!(
            "The redirect {name} '{text}' holds an unknown placeholder"
        )))
    }
}

fn check_fixed_response(
    status: u16,
    content_type: Option<&str>,
    body: Option<&str>,
) -> Result<(), Refusal> {
    if !matches!(status / 100, 2 | 4 | 5) {
        return Err(invalid(format!(
            "The fixed response status code '{status}' must be 2XX, 4XX or 5XX"
        )));
    }
    if content_type.is_some_and(|content_type| !CONTENT_TYPES.contains(&content_type)) {
        return Err(Refusal::InvalidLoadBalancerAction(format!(
            "The ContentType must be one of:'{}'",
            CONTENT_TYPES.join("', '")
        )));
    }
    if body.is_some_and(|body| body.chars().count() > 1024) {
        return Err(invalid(
            "The fixed response message body cannot be longer than '1024' characters",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Region, fixed_response, forward};
    use super::*;

    fn redirect(parts: [Option<&str>; 5]) -> Action {
        let [protocol, host, port, path, query] = parts.map(|part| part.map(str::to_owned));
        let kind = ActionKind::Redirect {
            status: 301,
            protocol,
            host,
            port,
            path,
            query,
        };
        Action { order: None, kind }
    }

    #[test]
    fn a_fixed_response_is_of_a_type_that_is_known() {
        check_fixed_response(200, Some("text/plain"), None).unwrap();
        let refused = check_fixed_response(200, Some("image/png"), None);
        assert!(matches!(
            refused,
            Err(Refusal::InvalidLoadBalancerAction(_))
        ));
    }

    #[test]
    fn redirects_that_lead_elsewhere_are_good_and_loops_are_not() {
        let good = [
            [Some("HTTPS"), None, Some("443"), None, None],
            [None, Some("www.example.com"), None, None, None],
            [None, None, Some("8080"), None, None],
            [None, None, None, Some("/new/#{path}"), Some("#{query}&x=1")],
        ];
        for parts in good {
            check_redirect(80, &redirect(parts).kind).unwrap();
        }
        let loops = [
            [None, None, None, None, None],
            [
                Some("#{protocol}"),
                Some("#{host}"),
                Some("#{port}"),
                Some("/#{path}"),
                Some("x"),
            ],
            [Some("HTTP"), None, Some("80"), None, None],
        ];
        for parts in loops {
            let refused = check_redirect(80, &redirect(parts).kind);
            assert!(
                matches!(refused, Err(Refusal::InvalidLoadBalancerAction(_))),
                "{parts:?}"
            );
        }
        let bad = [
            [Some("FTP"), None, None, None, None],
            [None, Some(""), None, None, None],
            [None, None, Some("0"), None, None],
            [None, None, Some("65536"), None, None],
            [None, None, Some("+81"), None, None],
            [None, None, None, Some("new"), None],
            [None, Some("#{hots}"), None, None, None],
            [None, Some("a b"), None, None, None],
        ];
        for parts in bad {
            let refused = check_redirect(80, &redirect(parts).kind);
            assert!(matches!(refused, Err(Refusal::Validation(_))), "{parts:?}");
        }
    }

    #[test]
    fn fixed_responses_stay_in_their_ranges() {
        check_fixed_response(418, Some("text/plain"), Some("teapot")).unwrap();
        check_fixed_response(503, None, None).unwrap();
        assert!(check_fixed_response(301, None, None).is_err());
        assert!(check_fixed_response(200, Some("image/png"), None).is_err());
        assert!(check_fixed_response(200, None, Some(&"x".repeat(1025))).is_err());
    }

    #[test]
    fn one_action_and_groups_of_this_load_balancer_only() {
        let mut region = Region::new();
        let lb = region.load_balancer("api");
        let other = region.load_balancer("other");
        let group = region.target_group("api");
        let all = |actions: &[Action], region: &Region| check(&region.tx, &lb, 80, actions);
        all(&[forward(&[(&group.arn, 1)])], &region).unwrap();
        assert!(all(&[], &region).is_err());
        let two = [forward(&[(&group.arn, 1)]), fixed_response(200)];
        assert!(matches!(
            all(&two, &region),
            Err(Refusal::InvalidLoadBalancerAction(_))
        ));
        assert!(all(&[forward(&[])], &region).is_err());
        assert!(all(&[forward(&[(&group.arn, 1000)])], &region).is_err());
        assert!(all(&[forward(&[(&group.arn, 1), (&group.arn, 2)])], &region).is_err());
        assert!(all(&[forward(&[("x", 1)])], &region).is_err());
        let gone = arns::target_group(&region.scope, "gone", "0123456789abcdef");
        assert_eq!(
            all(&[forward(&[(&gone, 1)])], &region),
            Err(Refusal::TargetGroupNotFound)
        );
        let six: Vec<_> = (0..6)
            .map(|n| region.target_group(&format!("g{n}")).arn)
            .collect();
        let six: Vec<_> = six.iter().map(|arn| (arn.as_str(), 1)).collect();
        assert!(matches!(
            all(&[forward(&six)], &region),
            Err(Refusal::TooManyActions(_))
        ));

        region.listener_to(&other.arn, 80, &group.arn);
        let refused = all(&[forward(&[(&group.arn, 1)])], &region);
        assert!(matches!(
            refused,
            Err(Refusal::TargetGroupAssociationLimit(_))
        ));
    }
}
