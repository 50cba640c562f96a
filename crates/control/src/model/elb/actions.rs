//! What a listener or rule does with a request (facts LST-2, LST-7 to LST-10).
//!
//! A row holds exactly one terminal action, the last in order; before it may stand one that a request must pass
//! (`authentication`), which needs an HTTPS listener.

use super::load_balancers::check_group_count;
use super::{Refusal, arns, authentication, invalid, limits, target_group_attributes, usage};
use crate::model::tx::Tx;
use fogbank_types::elb::{Action, ActionKind, LoadBalancer, TargetGroup, WeightedGroup};
use std::collections::BTreeSet;

const CONTENT_TYPES: [&str; 5] = [
    "text/plain",
    "text/css",
    "text/html",
    "application/javascript",
    "application/json",
];

/// Where actions are to run.
#[derive(Copy, Clone)]
pub struct Place<'a> {
    pub load_balancer: &'a LoadBalancer,
    pub port: u16,
    /// `HTTP` or `HTTPS`.
    pub protocol: &'a str,
}

/// Whether these can be the actions of a listener or rule there. They stand in their order.
pub fn check(tx: &Tx, place: Place<'_>, actions: &[Action]) -> Result<(), Refusal> {
    let Some((last, guards)) = actions.split_last() else {
        return Err(invalid("At least one action must be specified"));
    };
    let refused = |text: &str| Refusal::InvalidLoadBalancerAction(text.to_owned());
    if guards.iter().any(|action| !is_guard(action)) {
        let terminal = actions.iter().filter(|action| !is_guard(action)).count();
        return Err(refused(if terminal > 1 {
            "You can specify only one of the following action types: 'forward', 'redirect', 'fixed-response'"
        } else {
            "The last action must be one of the following types: 'forward', 'redirect', 'fixed-response'"
        }));
    }
    if guards.len() > 1 {
        return Err(refused(
            "You can specify only one of the following action types: 'authenticate-oidc', 'authenticate-cognito', 'jwt-validation'",
        ));
    }
    if is_guard(last) {
        return Err(refused(
            "The last action must be one of the following types: 'forward', 'redirect', 'fixed-response'",
        ));
    }
    check_orders(actions)?;
    for guard in guards {
        check_guard(place, guard)?;
    }
    check_terminal(tx, place, last)
}

/// Whether it must be passed before the action that ends a rule.
fn is_guard(action: &Action) -> bool {
    matches!(
        action.kind,
        ActionKind::AuthenticateOidc(_) | ActionKind::JwtValidation(_)
    )
}

/// "This value is required for rules with multiple actions": Action.
fn check_orders(actions: &[Action]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for action in actions {
        match action.order {
            None if actions.len() > 1 => {
                return Err(invalid(
                    "An order must be specified for each action of a rule with multiple actions",
                ));
            }
            None => {}
            Some(order) if !(1..=50_000).contains(&order) => {
                return Err(invalid(format!(
                    "Action order '{order}' must be between '1' and '50000' inclusive"
                )));
            }
            Some(order) if !seen.insert(order) => {
                return Err(invalid(format!(
                    "Action order '{order}' is specified more than once"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_guard(place: Place<'_>, action: &Action) -> Result<(), Refusal> {
    let (name, checked) = match &action.kind {
        ActionKind::AuthenticateOidc(oidc) => {
            ("authenticate-oidc", authentication::check_oidc(oidc))
        }
        ActionKind::JwtValidation(jwt) => ("jwt-validation", authentication::check_jwt(jwt)),
        _ => return Ok(()),
    };
    if place.protocol != "HTTPS" {
        return Err(Refusal::InvalidLoadBalancerAction(format!(
            "Actions of type '{name}' are supported only on HTTPS listeners"
        )));
    }
    checked
}

fn check_terminal(tx: &Tx, place: Place<'_>, action: &Action) -> Result<(), Refusal> {
    match &action.kind {
        ActionKind::Forward {
            groups,
            stickiness_seconds,
            stickiness_enabled,
        } => {
            if stickiness_seconds.is_some_and(|seconds| !(1..=604_800).contains(&seconds)) {
                return Err(invalid(
                    "The target group stickiness duration must be between '1' and '604800' seconds",
                ));
            }
            if *stickiness_enabled && stickiness_seconds.is_none() {
                return Err(invalid(
                    "A duration must be specified if target group stickiness is enabled",
                ));
            }
            check_forward(tx, place, groups, *stickiness_enabled)
        }
        ActionKind::Redirect { .. } => check_redirect(place.protocol, place.port, &action.kind),
        ActionKind::FixedResponse {
            status,
            content_type,
            body,
        } => check_fixed_response(*status, content_type.as_deref(), body.as_deref()),
        ActionKind::AuthenticateOidc(_) | ActionKind::JwtValidation(_) => Ok(()),
    }
}

fn check_forward(
    tx: &Tx,
    place: Place<'_>,
    groups: &[WeightedGroup],
    sticks_to_group: bool,
) -> Result<(), Refusal> {
    let load_balancer = place.load_balancer;
    if groups.is_empty() {
        return Err(invalid(
            "A target group ARN must be specified for an action of type 'forward'",
        ));
    }
    let groups_max = limits::Limits::of(tx.config()).target_groups_per_action;
    if groups.len() > groups_max {
        return Err(Refusal::TooManyActions(format!(
            "A forward action can have at most '{groups_max}' target groups"
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
        check_group(place, group)?;
        // <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#target-group-stickiness>
        if groups.len() > 1 && !sticks_to_group && target_group_attributes::is_sticky(group) {
            return Err(Refusal::InvalidConfigurationRequest(
                "You must enable group stickiness on a rule if you enabled target stickiness on one of its target groups"
                    .to_owned(),
            ));
        }
        let user = usage::load_balancer_of(tx.snapshot(), &load_balancer.scope, arn);
        if user.is_some_and(|user| user != load_balancer.arn) {
            return Err(Refusal::TargetGroupAssociationLimit(arn.clone()));
        }
    }
    let arns = groups.iter().map(|g| g.target_group_arn.as_str());
    check_group_count(tx, &load_balancer.scope, &load_balancer.arn, arns)
}

/// Whether the group's protocol and addresses fit the listener (facts TGT-14, ALB-4).
fn check_group(place: Place<'_>, group: &TargetGroup) -> Result<(), Refusal> {
    if group.protocol_version != "HTTP1" && place.protocol != "HTTPS" {
        return Err(Refusal::InvalidConfigurationRequest(format!(
            "Listener protocol '{}' is not supported with a target group with the protocol-version '{}'",
            place.protocol, group.protocol_version
        )));
    }
    if group.ip_address_type == "ipv6" && place.load_balancer.ip_address_type == "ipv4" {
        return Err(Refusal::InvalidConfigurationRequest(format!(
            "Target group '{}' with IP address type 'ipv6' needs a load balancer with IP address type 'dualstack'",
            group.arn
        )));
    }
    Ok(())
}

fn check_redirect(
    listener_protocol: &str,
    listener_port: u16,
    kind: &ActionKind,
) -> Result<(), Refusal> {
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
    let keeps_protocol =
        keeps(protocol, "#{protocol}") || protocol.as_deref() == Some(listener_protocol);
    if listener_protocol == "HTTPS" && protocol.as_deref() == Some("HTTP") {
        return Err(Refusal::InvalidLoadBalancerAction(
            "A redirect from HTTPS to HTTP is not supported".to_owned(),
        ));
    }
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
    use super::super::fixture::{Region, fixed_response, forward, jwt, oidc};
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
            check_redirect("HTTP", 80, &redirect(parts).kind).unwrap();
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
            let refused = check_redirect("HTTP", 80, &redirect(parts).kind);
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
            let refused = check_redirect("HTTP", 80, &redirect(parts).kind);
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
        let all = |actions: &[Action], region: &Region| {
            let place = Place {
                load_balancer: &lb,
                port: 80,
                protocol: "HTTP",
            };
            check(&region.tx, place, actions)
        };
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

    #[test]
    fn https_does_not_lead_to_http() {
        let down = redirect([Some("HTTP"), None, Some("80"), None, None]);
        let refused = check_redirect("HTTPS", 443, &down.kind);
        assert!(matches!(
            refused,
            Err(Refusal::InvalidLoadBalancerAction(_))
        ));
        let same = redirect([Some("HTTPS"), None, None, None, None]);
        assert!(check_redirect("HTTPS", 443, &same.kind).is_err(), "a loop");
        check_redirect("HTTP", 443, &same.kind).unwrap();
    }

    #[test]
    fn a_login_comes_first_and_only_by_https() {
        let mut region = Region::new();
        let lb = region.load_balancer("api");
        let ordered = |order, kind| Action { order, kind };
        let login = |order| {
            ordered(
                order,
                ActionKind::AuthenticateOidc(oidc("https://idp.example/")),
            )
        };
        let token = |order| ordered(order, ActionKind::JwtValidation(jwt(vec![])));
        let answer = |order| ordered(order, fixed_response(200).kind);
        let on = |protocol: &str, actions: &[Action]| {
            let place = Place {
                load_balancer: &lb,
                port: 443,
                protocol,
            };
            check(&region.tx, place, actions)
        };
        on("HTTPS", &[login(Some(1)), answer(Some(2))]).unwrap();
        on("HTTPS", &[token(Some(10)), answer(Some(20))]).unwrap();
        for bad in [
            vec![login(Some(1)), token(Some(2)), answer(Some(3))],
            vec![answer(Some(1)), login(Some(2))],
            vec![login(Some(1))],
            vec![answer(Some(1)), answer(Some(2))],
        ] {
            let refused = on("HTTPS", &bad);
            assert!(
                matches!(refused, Err(Refusal::InvalidLoadBalancerAction(_))),
                "{bad:?}"
            );
        }
        let refused = on("HTTP", &[login(Some(1)), answer(Some(2))]);
        assert!(matches!(
            refused,
            Err(Refusal::InvalidLoadBalancerAction(_))
        ));
        for orders in [
            [None, None],
            [Some(1), Some(1)],
            [Some(0), Some(1)],
            [Some(1), Some(50_001)],
        ] {
            let refused = on("HTTPS", &[login(orders[0]), answer(orders[1])]);
            assert!(matches!(refused, Err(Refusal::Validation(_))), "{orders:?}");
        }
    }

    #[test]
    fn groups_fit_the_listener_and_each_other() {
        let mut region = Region::new();
        let lb = region.load_balancer("api");
        let [plain, sticky] = ["plain", "sticky"].map(|name| region.target_group(name));
        let grpc =
            region.target_group_with("grpc", |new| new.protocol_version = Some("GRPC".to_owned()));
        let on = |region: &Region, protocol: &str, actions: &[Action]| {
            let place = Place {
                load_balancer: &lb,
                port: 443,
                protocol,
            };
            check(&region.tx, place, actions)
        };
        on(&region, "HTTPS", &[forward(&[(&grpc.arn, 1)])]).unwrap();
        let refused = on(&region, "HTTP", &[forward(&[(&grpc.arn, 1)])]);
        assert!(matches!(
            refused,
            Err(Refusal::InvalidConfigurationRequest(_))
        ));
        let on_stickiness = [("stickiness.enabled".to_owned(), "true".to_owned())];
        let scope = region.scope.clone();
        target_group_attributes::modify(&mut region.tx, &scope, &sticky.arn, &on_stickiness)
            .unwrap();
        let mut both = forward(&[(&plain.arn, 1), (&sticky.arn, 1)]);
        let refused = on(&region, "HTTP", std::slice::from_ref(&both));
        assert!(matches!(
            refused,
            Err(Refusal::InvalidConfigurationRequest(_))
        ));
        if let ActionKind::Forward {
            stickiness_seconds,
            stickiness_enabled,
            ..
        } = &mut both.kind
        {
            *stickiness_enabled = true;
            assert!(
                on(
                    &region,
                    "HTTP",
                    std::slice::from_ref(&Action {
                        order: None,
                        kind: ActionKind::Forward {
                            groups: vec![],
                            stickiness_seconds: None,
                            stickiness_enabled: true
                        }
                    })
                )
                .is_err()
            );
            *stickiness_seconds = Some(60);
        }
        on(&region, "HTTP", &[both]).unwrap();
    }
}
