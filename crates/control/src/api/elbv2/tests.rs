//! The calls of a deployment one after the other, on an engine with a store in memory.

use super::{listeners, load_balancers, rules, ssl_policies, tags, target_groups, targets};
use crate::Engine;
use crate::api::{ApiError, Caller, Context};
use crate::model::elb::fixture::{put_gateway, put_group, put_subnet, put_vpc};
use crate::model::tx::test_config;
use fogbank_store::Memory;
use fogbank_types::Scope;
use fogbank_wire::elbv2::*;
use std::sync::Arc;

struct Deployment {
    context: Context,
    vpc: String,
    subnets: Vec<String>,
}

async fn deployment() -> Deployment {
    let engine = Engine::start(Arc::new(Memory::new()), test_config())
        .await
        .unwrap();
    let caller = Caller {
        account: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
        access_key: "test".to_owned(),
        request_id: "r".to_owned(),
        host: "localhost".to_owned(),
    };
    let context = Context::new(caller, engine);
    tokio::task::spawn_blocking(move || {
        let scope = Scope::new("000000000000", "us-east-1");
        let (vpc, subnets) = context
            .write(|tx| {
                let vpc = put_vpc(tx, &scope, "10.0.0.0/16");
                let subnet = |tx: &mut _, n: u8, zone: &str| {
                    put_subnet(tx, &scope, &vpc, &format!("10.0.{n}.0/24"), zone).to_string()
                };
                let subnets = vec![subnet(tx, 0, "a"), subnet(tx, 1, "b")];
                put_gateway(tx, &scope, &vpc);
                put_group(tx, &scope, &vpc, "default");
                Ok((vpc.to_string(), subnets))
            })
            .unwrap();
        Deployment {
            context,
            vpc,
            subnets,
        }
    })
    .await
    .unwrap()
}

/// Runs blocking calls as the server does.
async fn on(deployment: Deployment, calls: fn(&Deployment)) {
    tokio::task::spawn_blocking(move || calls(&deployment))
        .await
        .unwrap();
}

fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    result.unwrap_err().0.code.into_owned()
}

fn balancer(d: &Deployment) -> LoadBalancer {
    let input = CreateLoadBalancerInput {
        name: "api".to_owned(),
        subnets: Some(d.subnets.clone()),
        scheme: Some("internet-facing".to_owned()),
        ..Default::default()
    };
    load_balancers::create(&d.context, input)
        .unwrap()
        .load_balancers
        .unwrap()
        .remove(0)
}

fn group(d: &Deployment) -> String {
    let input = CreateTargetGroupInput {
        name: "api".to_owned(),
        protocol: Some("HTTP".to_owned()),
        port: Some(8080),
        vpc_id: Some(d.vpc.clone()),
        target_type: Some("ip".to_owned()),
        health_check_path: Some("/health".to_owned()),
        health_check_interval_seconds: Some(5),
        health_check_timeout_seconds: Some(2),
        healthy_threshold_count: Some(2),
        ..Default::default()
    };
    let made = target_groups::create(&d.context, input)
        .unwrap()
        .target_groups
        .unwrap()
        .remove(0);
    assert_eq!(made.health_check_port.as_deref(), Some("traffic-port"));
    made.target_group_arn.unwrap()
}

#[tokio::test]
async fn a_deployment_is_made_read_and_taken_down() {
    on(deployment().await, |d| {
        let lb = balancer(d);
        let lb_arn = lb.load_balancer_arn.unwrap();
        assert_eq!(lb.state.unwrap().code.as_deref(), Some("provisioning"));
        let group_arn = group(d);
        let action = Action {
            r#type: "forward".to_owned(),
            target_group_arn: Some(group_arn.clone()),
            ..Default::default()
        };
        let input = CreateListenerInput {
            load_balancer_arn: lb_arn.clone(),
            protocol: Some("HTTP".to_owned()),
            port: Some(80),
            default_actions: vec![action],
            ..Default::default()
        };
        let made = listeners::create(&d.context, input)
            .unwrap()
            .listeners
            .unwrap()
            .remove(0);
        let listener_arn = made.listener_arn.unwrap();
        let input = CreateRuleInput {
            listener_arn: listener_arn.clone(),
            priority: 10,
            conditions: vec![RuleCondition {
                field: Some("path-pattern".to_owned()),
                values: Some(vec!["/teapot*".to_owned()]),
                ..Default::default()
            }],
            actions: vec![Action {
                r#type: "fixed-response".to_owned(),
                fixed_response_config: Some(FixedResponseActionConfig {
                    status_code: "418".to_owned(),
                    content_type: Some("text/plain".to_owned()),
                    message_body: Some("teapot".to_owned()),
                }),
                ..Default::default()
            }],
            ..Default::default()
        };
        rules::create(&d.context, input.clone()).unwrap();
        assert_eq!(code(rules::create(&d.context, input)), "PriorityInUse");
        let listed = DescribeRulesInput {
            listener_arn: Some(listener_arn),
            ..Default::default()
        };
        let listed = rules::describe(&d.context, listed).unwrap().rules.unwrap();
        let priorities: Vec<_> = listed.iter().map(|r| r.priority.clone().unwrap()).collect();
        assert_eq!(priorities, ["10", "default"]);
        let default = DescribeRulesInput {
            rule_arns: Some(vec![listed[1].rule_arn.clone().unwrap()]),
            ..Default::default()
        };
        assert_eq!(
            rules::describe(&d.context, default).unwrap().rules.unwrap()[0],
            listed[1]
        );
        let of_lb = DescribeTargetGroupsInput {
            load_balancer_arn: Some(lb_arn.clone()),
            ..Default::default()
        };
        let of_lb = target_groups::describe(&d.context, of_lb)
            .unwrap()
            .target_groups
            .unwrap();
        assert_eq!(of_lb[0].load_balancer_arns, Some(vec![lb_arn.clone()]));
        let delete = DeleteTargetGroupInput {
            target_group_arn: group_arn,
        };
        assert_eq!(
            code(target_groups::delete(&d.context, delete.clone())),
            "ResourceInUse"
        );
        let gone = DeleteLoadBalancerInput {
            load_balancer_arn: lb_arn,
        };
        load_balancers::delete(&d.context, gone).unwrap();
        target_groups::delete(&d.context, delete).unwrap();
        assert!(d.context.snapshot().enis.is_empty());
    })
    .await;
}

#[tokio::test]
async fn targets_are_registered_and_told_of() {
    on(deployment().await, |d| {
        let arn = group(d);
        let target = |id: &str| TargetDescription {
            id: id.to_owned(),
            ..Default::default()
        };
        let input = RegisterTargetsInput {
            target_group_arn: arn.clone(),
            targets: vec![target("10.0.0.9")],
        };
        targets::register(&d.context, input).unwrap();
        let health = |asked: Option<Vec<TargetDescription>>| {
            let input = DescribeTargetHealthInput {
                target_group_arn: arn.clone(),
                targets: asked,
                ..Default::default()
            };
            targets::describe_health(&d.context, input)
                .unwrap()
                .target_health_descriptions
                .unwrap()
        };
        let all = health(None);
        assert_eq!(
            all[0].target.as_ref().unwrap().availability_zone.as_deref(),
            Some("us-east-1a")
        );
        assert_eq!(all[0].health_check_port.as_deref(), Some("8080"));
        let other = health(Some(vec![target("10.0.0.10")]));
        let reason = other[0].target_health.clone().unwrap().reason;
        assert_eq!(reason.as_deref(), Some("Target.NotRegistered"));
        assert_eq!(other[0].health_check_port.as_deref(), Some("8080"));
        let bad = RegisterTargetsInput {
            target_group_arn: arn.clone(),
            targets: vec![target("8.8.8.8")],
        };
        assert_eq!(code(targets::register(&d.context, bad)), "ValidationError");
        let input = DeregisterTargetsInput {
            target_group_arn: arn.clone(),
            targets: vec![target("10.0.0.9")],
        };
        targets::deregister(&d.context, input).unwrap();
        assert!(health(None).is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_a_target_that_is_not_registered() {
    on(deployment().await, |d| {
        let input = CreateTargetGroupInput {
            name: "instances".to_owned(),
            protocol: Some("HTTP".to_owned()),
            port: Some(80),
            vpc_id: Some(d.vpc.clone()),
            ..Default::default()
        };
        let groups = target_groups::create(&d.context, input).unwrap();
        assert_eq!(
            groups.target_groups.as_ref().unwrap()[0].load_balancer_arns,
            None
        );
        let input = DescribeTargetHealthInput {
            target_group_arn: groups.target_groups.unwrap()[0]
                .target_group_arn
                .clone()
                .unwrap(),
            targets: Some(vec![TargetDescription {
                id: "i-12345678901234567".to_owned(),
                ..Default::default()
            }]),
            ..Default::default()
        };
        let health = targets::describe_health(&d.context, input).unwrap();
        let told = &health.target_health_descriptions.unwrap()[0];
        let target = told.target.as_ref().unwrap();
        assert_eq!(
            (target.id.as_str(), target.port),
            ("i-12345678901234567", Some(80))
        );
        let reason = told.target_health.clone().unwrap().reason;
        assert_eq!(reason.as_deref(), Some("Target.NotRegistered"));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_said_in_awss_codes() {
    on(deployment().await, |d| {
        let names = Some(vec!["gone".to_owned()]);
        let input = DescribeLoadBalancersInput {
            names: names.clone(),
            ..Default::default()
        };
        assert_eq!(
            code(load_balancers::describe(&d.context, input)),
            "LoadBalancerNotFound"
        );
        let input = DescribeTargetGroupsInput {
            names,
            ..Default::default()
        };
        assert_eq!(
            code(target_groups::describe(&d.context, input)),
            "TargetGroupNotFound"
        );
        let none = DescribeLoadBalancersInput::default();
        assert_eq!(
            load_balancers::describe(&d.context, none)
                .unwrap()
                .load_balancers,
            Some(vec![])
        );
        let network = CreateLoadBalancerInput {
            name: "n".to_owned(),
            r#type: Some("network".to_owned()),
            subnets: Some(d.subnets.clone()),
            ..Default::default()
        };
        assert_eq!(
            code(load_balancers::create(&d.context, network)),
            "ValidationError"
        );
        let both = CreateLoadBalancerInput {
            name: "n".to_owned(),
            subnets: Some(d.subnets.clone()),
            subnet_mappings: Some(vec![]),
            ..Default::default()
        };
        assert_eq!(
            code(load_balancers::create(&d.context, both)),
            "ValidationError"
        );
        assert_eq!(
            code(listeners::describe(&d.context, Default::default())),
            "ValidationError"
        );
        let policies = ssl_policies::describe(&d.context, Default::default()).unwrap();
        assert!(policies.ssl_policies.unwrap().len() > 20);
        let twice = DescribeSSLPoliciesInput {
            names: Some(vec!["ELBSecurityPolicy-2016-08".to_owned(); 2]),
            ..Default::default()
        };
        let policies = ssl_policies::describe(&d.context, twice).unwrap();
        assert_eq!(policies.ssl_policies.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn tags_given_at_birth_are_read_back() {
    on(deployment().await, |d| {
        let tag = |key: &str| Tag {
            key: key.to_owned(),
            value: Some("v".to_owned()),
        };
        let input = |tags| CreateLoadBalancerInput {
            name: "api".to_owned(),
            subnets: Some(d.subnets.clone()),
            tags: Some(tags),
            ..Default::default()
        };
        let twice = load_balancers::create(&d.context, input(vec![tag("a"), tag("a")]));
        assert_eq!(code(twice), "DuplicateTagKeys");
        let made = load_balancers::create(&d.context, input(vec![tag("a")])).unwrap();
        let arn = made
            .load_balancers
            .unwrap()
            .remove(0)
            .load_balancer_arn
            .unwrap();
        let described = DescribeTagsInput {
            resource_arns: vec![arn],
        };
        let described = tags::describe(&d.context, described)
            .unwrap()
            .tag_descriptions
            .unwrap();
        assert_eq!(described[0].tags, Some(vec![tag("a")]));
    })
    .await;
}
