//! What the service tells of itself: security policies and quotas.

use super::page;
use crate::api::{ApiError, Context};
use crate::model::elb::Refusal;
use crate::model::elb::limits::{self, Limits};
use fogbank_types::tls_policy::{self, POLICIES, TlsCipher, TlsPolicy, TlsVersion};
use fogbank_wire::elbv2::*;
use std::collections::BTreeSet;

pub fn describe(
    _: &Context,
    input: DescribeSSLPoliciesInput,
) -> Result<DescribeSSLPoliciesOutput, ApiError> {
    let all: Vec<&TlsPolicy> = match input.names.filter(|names| !names.is_empty()) {
        None => POLICIES.iter().collect(),
        Some(mut names) => {
            // One that is named twice is told of once: pages go by name.
            let mut seen = BTreeSet::new();
            names.retain(|name| seen.insert(name.clone()));
            let known = |name: &String| {
                tls_policy::find(name).ok_or_else(|| Refusal::SslPolicyNotFound(name.clone()))
            };
            names.iter().map(known).collect::<Result<_, _>>()?
        }
    };
    // Gateway load balancers have none.
    let all = if input.load_balancer_type.as_deref() == Some("gateway") {
        Vec::new()
    } else {
        all
    };
    let (page, next_marker) = page::cut(
        all,
        |policy| policy.name,
        input.marker.as_deref(),
        input.page_size,
    )?;
    let ssl_policies = Some(page.into_iter().map(render).collect());
    Ok(DescribeSSLPoliciesOutput {
        ssl_policies,
        next_marker,
    })
}

fn render(policy: &TlsPolicy) -> SslPolicy {
    let cipher = |(at, cipher): (usize, &TlsCipher)| Cipher {
        name: Some(cipher.name.to_owned()),
        priority: Some(at as i32 + 1),
    };
    SslPolicy {
        ciphers: Some(policy.ciphers().enumerate().map(cipher).collect()),
        name: Some(policy.name.to_owned()),
        ssl_protocols: Some(
            policy
                .protocols()
                .map(TlsVersion::as_str)
                .map(str::to_owned)
                .collect(),
        ),
        supported_load_balancer_types: Some(vec!["application".to_owned(), "network".to_owned()]),
    }
}

pub fn describe_account_limits(
    context: &Context,
    input: DescribeAccountLimitsInput,
) -> Result<DescribeAccountLimitsOutput, ApiError> {
    let none = limits::NOT_OFFERED.iter().map(|name| (*name, 0));
    let all: Vec<_> = Limits::of(context.config())
        .told()
        .into_iter()
        .chain(none)
        .collect();
    let (page, next_marker) = page::cut(
        all,
        |(name, _)| name,
        input.marker.as_deref(),
        input.page_size,
    )?;
    let limit = |(name, max): (&str, usize)| Limit {
        name: Some(name.to_owned()),
        max: Some(max.to_string()),
    };
    Ok(DescribeAccountLimitsOutput {
        limits: Some(page.into_iter().map(limit).collect()),
        next_marker,
    })
}
