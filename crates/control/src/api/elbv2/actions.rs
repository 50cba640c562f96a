//! Actions as shapes and as rows.

use crate::model::elb::{Refusal, authentication, invalid, not_offered};
use fogbank_types::elb::{
    ActionKind, AuthenticateOidc, JwtClaim, JwtValidation, OnUnauthenticated, WeightedGroup,
};
use fogbank_wire::elbv2 as wire;

type Row = fogbank_types::elb::Action;

/// Ordered as they run.
pub fn parse(actions: Vec<wire::Action>) -> Result<Vec<Row>, Refusal> {
    let mut rows: Vec<Row> = actions
        .into_iter()
        .map(parse_one)
        .collect::<Result<_, _>>()?;
    rows.sort_by_key(|row| row.order.unwrap_or(0));
    Ok(rows)
}

fn parse_one(action: wire::Action) -> Result<Row, Refusal> {
    let order = action.order;
    let kind = match action.r#type.as_str() {
        "forward" => {
            forbid(&action, "forward")?;
            parse_forward(action.target_group_arn, action.forward_config)?
        }
        "redirect" => {
            forbid(&action, "redirect")?;
            parse_redirect(action.redirect_config)?
        }
        "fixed-response" => {
            forbid(&action, "fixed-response")?;
            parse_fixed_response(action.fixed_response_config)?
        }
        "authenticate-oidc" => {
            forbid(&action, "authenticate-oidc")?;
            parse_oidc(action.authenticate_oidc_config)?
        }
        "jwt-validation" => {
            forbid(&action, "jwt-validation")?;
            parse_jwt(action.jwt_validation_config)?
        }
        "authenticate-cognito" => {
            return Err(not_offered("Action type 'authenticate-cognito'"));
        }
        other => return Err(invalid(format!("Action type '{other}' is not valid"))),
    };
    Ok(Row { order, kind })
}

/// The configuration of another type must not be there.
fn forbid(action: &wire::Action, kind: &str) -> Result<(), Refusal> {
    let present = [
        (
            "forward",
            action.forward_config.is_some() || action.target_group_arn.is_some(),
        ),
        ("redirect", action.redirect_config.is_some()),
        ("fixed-response", action.fixed_response_config.is_some()),
        (
            "authenticate-oidc",
            action.authenticate_oidc_config.is_some(),
        ),
        (
            "authenticate-cognito",
            action.authenticate_cognito_config.is_some(),
        ),
        ("jwt-validation", action.jwt_validation_config.is_some()),
    ];
    match present
        .into_iter()
        .find(|(other, there)| *there && *other != kind)
    {
        Some((other, _)) => Err(invalid(format!(
            "The configuration of '{other}' is not valid for an action with type '{kind}'"
        ))),
        None => Ok(()),
    }
}

fn parse_forward(
    single: Option<String>,
    config: Option<wire::ForwardActionConfig>,
) -> Result<ActionKind, Refusal> {
    let config = config.unwrap_or_default();
    let mut groups = Vec::new();
    for tuple in config.target_groups.unwrap_or_default() {
        let arn = tuple
            .target_group_arn
            .ok_or_else(|| invalid("A target group ARN must be specified"))?;
        groups.push((arn, tuple.weight));
    }
    if let Some(single) = single {
        match groups.as_slice() {
            [] => groups.push((single, None)),
            [(same, _)] if *same == single => {}
            _ => {
                return Err(invalid(
                    "If both TargetGroupArn and ForwardConfig are specified, ForwardConfig must hold the same target group only",
                ));
            }
        }
    }
    let several = groups.len() > 1;
    let weighted = |(arn, weight): (String, Option<i32>)| {
        let weight = match weight {
            None if several => {
                return Err(invalid(format!(
                    "A weight must be specified for target group '{arn}'"
                )));
            }
            weight => weight.unwrap_or(1),
        };
        let good = u32::try_from(weight).map_err(|_| {
            invalid(format!(
                "The weight '{weight}' of target group '{arn}' must be between '0' and '999' inclusive"
            ))
        })?;
        Ok(WeightedGroup {
            target_group_arn: arn,
            weight: good,
        })
    };
    let groups = groups.into_iter().map(weighted).collect::<Result<_, _>>()?;
    let stickiness = config.target_group_stickiness_config.unwrap_or_default();
    let stickiness_seconds = stickiness
        .duration_seconds
        .map(|seconds| u32::try_from(seconds).unwrap_or(0));
    Ok(ActionKind::Forward {
        stickiness_enabled: stickiness.enabled == Some(true),
        groups,
        stickiness_seconds,
    })
}

/// An empty secret stands for the one that is there (`authentication::keep_secrets`).
fn parse_oidc(config: Option<wire::AuthenticateOidcActionConfig>) -> Result<ActionKind, Refusal> {
    let config = config.ok_or_else(|| {
        invalid("A configuration must be specified for an action of type 'authenticate-oidc'")
    })?;
    let keep = config.use_existing_client_secret == Some(true);
    let client_secret = match config.client_secret {
        Some(_) if keep => {
            return Err(invalid(
                "You cannot specify both a client secret and UseExistingClientSecret",
            ));
        }
        Some(secret) if secret.is_empty() => return Err(no_secret()),
        Some(secret) => secret,
        None if keep => String::new(),
        None => return Err(no_secret()),
    };
    let on_unauthenticated = match config.on_unauthenticated_request.as_deref() {
        None | Some("authenticate") => OnUnauthenticated::Authenticate,
        Some("deny") => OnUnauthenticated::Deny,
        Some("allow") => OnUnauthenticated::Allow,
        Some(other) => {
            return Err(invalid(format!(
                "OnUnauthenticatedRequest '{other}' must be one of 'deny', 'allow', 'authenticate'"
            )));
        }
    };
    let session_timeout_s = match config.session_timeout {
        None => authentication::SESSION_TIMEOUT_S,
        Some(seconds) => u64::try_from(seconds).unwrap_or(0),
    };
    let cookie = config.session_cookie_name;
    let extra = config.authentication_request_extra_params;
    Ok(ActionKind::AuthenticateOidc(AuthenticateOidc {
        issuer: config.issuer,
        authorization_endpoint: config.authorization_endpoint,
        token_endpoint: config.token_endpoint,
        user_info_endpoint: config.user_info_endpoint,
        client_id: config.client_id,
        client_secret,
        session_cookie_name: cookie.unwrap_or_else(|| authentication::SESSION_COOKIE.to_owned()),
        scope: config
            .scope
            .unwrap_or_else(|| authentication::SCOPE.to_owned()),
        session_timeout_s,
        extra_params: extra.unwrap_or_default().into_iter().collect(),
        on_unauthenticated,
    }))
}

fn no_secret() -> Refusal {
    invalid("A client secret must be specified for an action of type 'authenticate-oidc'")
}

fn parse_jwt(config: Option<wire::JwtValidationActionConfig>) -> Result<ActionKind, Refusal> {
    let config = config.ok_or_else(|| {
        invalid("A configuration must be specified for an action of type 'jwt-validation'")
    })?;
    let claim = |claim: wire::JwtValidationActionAdditionalClaim| JwtClaim {
        format: claim.format,
        name: claim.name,
        values: claim.values,
    };
    let claims = config.additional_claims.unwrap_or_default();
    Ok(ActionKind::JwtValidation(JwtValidation {
        jwks_endpoint: config.jwks_endpoint,
        issuer: config.issuer,
        additional_claims: claims.into_iter().map(claim).collect(),
    }))
}

fn parse_redirect(config: Option<wire::RedirectActionConfig>) -> Result<ActionKind, Refusal> {
    let config = config.ok_or_else(|| {
        invalid("A redirect configuration must be specified for an action of type 'redirect'")
    })?;
    let status = match config.status_code.as_str() {
        "HTTP_301" => 301,
        "HTTP_302" => 302,
        other => {
            return Err(invalid(format!(
                "The redirect status code '{other}' must be 'HTTP_301' or 'HTTP_302'"
            )));
        }
    };
    Ok(ActionKind::Redirect {
        status,
        protocol: config.protocol,
        host: config.host,
        port: config.port,
        path: config.path,
        query: config.query,
    })
}

fn parse_fixed_response(
    config: Option<wire::FixedResponseActionConfig>,
) -> Result<ActionKind, Refusal> {
    let config = config.ok_or_else(|| {
        invalid("A fixed response configuration must be specified for an action of type 'fixed-response'")
    })?;
    let code = &config.status_code;
    let digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let status = code.parse().ok().filter(|_| digits).ok_or_else(|| {
        invalid(format!(
            "The fixed response status code '{code}' must be 2XX, 4XX or 5XX"
        ))
    })?;
    let content_type = config.content_type.filter(|t| !t.is_empty());
    Ok(ActionKind::FixedResponse {
        status,
        content_type,
        body: config.message_body,
    })
}

/// As AWS lists them: a forward to one group has both forms, a redirect has all its parts.
pub fn render(actions: &[Row]) -> Vec<wire::Action> {
    actions.iter().map(render_one).collect()
}

fn render_one(action: &Row) -> wire::Action {
    let plain = wire::Action {
        order: action.order,
        ..Default::default()
    };
    match &action.kind {
        ActionKind::Forward {
            groups,
            stickiness_seconds,
            stickiness_enabled,
        } => {
            let single = match groups.as_slice() {
                [group] => Some(group.target_group_arn.clone()),
                _ => None,
            };
            let tuple = |group: &WeightedGroup| wire::TargetGroupTuple {
                target_group_arn: Some(group.target_group_arn.clone()),
                weight: Some(group.weight as i32),
            };
            let stickiness = wire::TargetGroupStickinessConfig {
                duration_seconds: stickiness_seconds.map(|seconds| seconds as i32),
                enabled: Some(*stickiness_enabled),
            };
            wire::Action {
                r#type: "forward".to_owned(),
                target_group_arn: single,
                forward_config: Some(wire::ForwardActionConfig {
                    target_groups: Some(groups.iter().map(tuple).collect()),
                    target_group_stickiness_config: Some(stickiness),
                }),
                ..plain
            }
        }
        ActionKind::Redirect {
            status,
            protocol,
            host,
            port,
            path,
            query,
        } => {
            let or = |part: &Option<String>, same: &str| {
                Some(part.clone().unwrap_or_else(|| same.to_owned()))
            };
            wire::Action {
                r#type: "redirect".to_owned(),
                redirect_config: Some(wire::RedirectActionConfig {
                    protocol: or(protocol, "#{protocol}"),
                    host: or(host, "#{host}"),
                    port: or(port, "#{port}"),
                    path: or(path, "/#{path}"),
                    query: or(query, "#{query}"),
                    status_code: format!("HTTP_{status}"),
                }),
                ..plain
            }
        }
        ActionKind::FixedResponse {
            status,
            content_type,
            body,
        } => wire::Action {
            r#type: "fixed-response".to_owned(),
            fixed_response_config: Some(wire::FixedResponseActionConfig {
                content_type: content_type.clone(),
                message_body: body.clone(),
                status_code: status.to_string(),
            }),
            ..plain
        },
        ActionKind::AuthenticateOidc(oidc) => wire::Action {
            r#type: "authenticate-oidc".to_owned(),
            authenticate_oidc_config: Some(render_oidc(oidc)),
            ..plain
        },
        ActionKind::JwtValidation(jwt) => wire::Action {
            r#type: "jwt-validation".to_owned(),
            jwt_validation_config: Some(render_jwt(jwt)),
            ..plain
        },
    }
}

/// The client secret is never told.
fn render_oidc(oidc: &AuthenticateOidc) -> wire::AuthenticateOidcActionConfig {
    let on_unauthenticated = match oidc.on_unauthenticated {
        OnUnauthenticated::Deny => "deny",
        OnUnauthenticated::Allow => "allow",
        OnUnauthenticated::Authenticate => "authenticate",
    };
    let extra = oidc.extra_params.iter();
    wire::AuthenticateOidcActionConfig {
        issuer: oidc.issuer.clone(),
        authorization_endpoint: oidc.authorization_endpoint.clone(),
        token_endpoint: oidc.token_endpoint.clone(),
        user_info_endpoint: oidc.user_info_endpoint.clone(),
        client_id: oidc.client_id.clone(),
        client_secret: None,
        session_cookie_name: Some(oidc.session_cookie_name.clone()),
        scope: Some(oidc.scope.clone()),
        session_timeout: Some(oidc.session_timeout_s as i64),
        authentication_request_extra_params: (!oidc.extra_params.is_empty())
            .then(|| extra.map(|(k, v)| (k.clone(), v.clone())).collect()),
        on_unauthenticated_request: Some(on_unauthenticated.to_owned()),
        use_existing_client_secret: None,
    }
}

fn render_jwt(jwt: &JwtValidation) -> wire::JwtValidationActionConfig {
    let claim = |claim: &JwtClaim| wire::JwtValidationActionAdditionalClaim {
        format: claim.format.clone(),
        name: claim.name.clone(),
        values: claim.values.clone(),
    };
    wire::JwtValidationActionConfig {
        jwks_endpoint: jwt.jwks_endpoint.clone(),
        issuer: jwt.issuer.clone(),
        additional_claims: (!jwt.additional_claims.is_empty())
            .then(|| jwt.additional_claims.iter().map(claim).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(kind: &str) -> wire::Action {
        wire::Action {
            r#type: kind.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_single_forward_comes_back_in_both_forms() {
        let short = wire::Action {
            target_group_arn: Some("a".to_owned()),
            ..action("forward")
        };
        let rendered = render(&parse(vec![short]).unwrap());
        assert_eq!(rendered[0].target_group_arn.as_deref(), Some("a"));
        let config = rendered[0].forward_config.as_ref().unwrap();
        assert_eq!(config.target_groups.as_ref().unwrap()[0].weight, Some(1));
        let again = render(&parse(rendered.clone()).unwrap());
        assert_eq!(again, rendered);
    }

    #[test]
    fn a_stickiness_that_is_off_keeps_its_duration() {
        let forward = |enabled| wire::Action {
            forward_config: Some(wire::ForwardActionConfig {
                target_groups: Some(vec![wire::TargetGroupTuple {
                    target_group_arn: Some("a".to_owned()),
                    weight: Some(1),
                }]),
                target_group_stickiness_config: Some(wire::TargetGroupStickinessConfig {
                    enabled: Some(enabled),
                    duration_seconds: Some(60),
                }),
            }),
            ..action("forward")
        };
        let rendered = render(&parse(vec![forward(false)]).unwrap());
        assert_eq!(
            rendered[0].forward_config,
            forward(false).forward_config,
            "as it was given"
        );
        let rendered = render(&parse(vec![forward(true)]).unwrap());
        assert_eq!(rendered[0].forward_config, forward(true).forward_config);
    }

    #[test]
    fn a_login_comes_back_without_its_secret() {
        let config = wire::AuthenticateOidcActionConfig {
            issuer: "https://idp.example/".to_owned(),
            authorization_endpoint: "https://idp.example/a".to_owned(),
            token_endpoint: "https://idp.example/t".to_owned(),
            user_info_endpoint: "https://idp.example/u".to_owned(),
            client_id: "c".to_owned(),
            client_secret: Some("s".to_owned()),
            ..Default::default()
        };
        let login = |config| wire::Action {
            order: Some(1),
            authenticate_oidc_config: Some(config),
            ..action("authenticate-oidc")
        };
        let rendered = render(&parse(vec![login(config.clone())]).unwrap());
        let shown = rendered[0].authenticate_oidc_config.clone().unwrap();
        assert_eq!(shown.client_secret, None);
        assert_eq!(
            shown.session_cookie_name.as_deref(),
            Some("AWSELBAuthSessionCookie")
        );
        assert_eq!(
            (shown.scope.as_deref(), shown.session_timeout),
            (Some("openid"), Some(604_800))
        );
        assert_eq!(
            shown.on_unauthenticated_request.as_deref(),
            Some("authenticate")
        );
        assert!(
            parse(rendered).is_err(),
            "neither a secret nor the wish to keep it"
        );
        let both = wire::AuthenticateOidcActionConfig {
            use_existing_client_secret: Some(true),
            ..config
        };
        assert!(parse(vec![login(both.clone())]).is_err());
        let kept = wire::AuthenticateOidcActionConfig {
            client_secret: None,
            ..both
        };
        parse(vec![login(kept)]).unwrap();
    }

    #[test]
    fn a_token_check_comes_back_as_it_was() {
        let config = wire::JwtValidationActionConfig {
            jwks_endpoint: "https://idp.example/keys".to_owned(),
            issuer: "https://idp.example/".to_owned(),
            additional_claims: Some(vec![wire::JwtValidationActionAdditionalClaim {
                format: "single-string".to_owned(),
                name: "aud".to_owned(),
                values: vec!["api".to_owned()],
            }]),
        };
        let check = wire::Action {
            order: Some(1),
            jwt_validation_config: Some(config),
            ..action("jwt-validation")
        };
        assert_eq!(render(&parse(vec![check.clone()]).unwrap()), [check]);
    }

    #[test]
    fn parts_of_a_redirect_that_stay_are_shown() {
        let config = wire::RedirectActionConfig {
            protocol: Some("HTTPS".to_owned()),
            port: Some("443".to_owned()),
            status_code: "HTTP_301".to_owned(),
            ..Default::default()
        };
        let redirect = wire::Action {
            redirect_config: Some(config),
            ..action("redirect")
        };
        let rendered = render(&parse(vec![redirect]).unwrap());
        let config = rendered[0].redirect_config.clone().unwrap();
        assert_eq!(config.path.as_deref(), Some("/#{path}"));
        assert_eq!(config.status_code, "HTTP_301");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let tuple = |arn: &str, weight| wire::TargetGroupTuple {
            target_group_arn: Some(arn.to_owned()),
            weight,
        };
        let forward = |groups| wire::Action {
            forward_config: Some(wire::ForwardActionConfig {
                target_groups: Some(groups),
                ..Default::default()
            }),
            ..action("forward")
        };
        let fixed = |status: &str| wire::Action {
            fixed_response_config: Some(wire::FixedResponseActionConfig {
                status_code: status.to_owned(),
                ..Default::default()
            }),
            ..action("fixed-response")
        };
        for bad in [
            action("redirect"),
            action("fixed-response"),
            action("authenticate-oidc"),
            action("dance"),
            fixed("teapot"),
            fixed("+41"),
            forward(vec![tuple("a", None), tuple("b", Some(1))]),
            forward(vec![tuple("a", Some(-1))]),
            wire::Action {
                target_group_arn: Some("b".to_owned()),
                ..forward(vec![tuple("a", None)])
            },
            wire::Action {
                target_group_arn: Some("b".to_owned()),
                ..fixed("200")
            },
        ] {
            assert!(parse(vec![bad.clone()]).is_err(), "{bad:?}");
        }
    }
}
