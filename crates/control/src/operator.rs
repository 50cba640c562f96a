//! `/_fogbank/spot`, `/_fogbank/bill` and `/_fogbank/permissions`: what is asked for beside AWS's API. For the command line,
//! for tests, and the last for the host.
//!
//! `POST spot` with `{"what": "<task or service>" | null}` interrupts tasks on FARGATE_SPOT and answers with their ids.
//! `POST bill` with `{"since": ms | null, "by": "service" | "task" | "resource", "prices": {..} | null}` answers with a bill.
//! `POST permissions` with an `Inquiry` answers with an `Answer` (`fogbank_types::permission`).

use crate::api::ApiError;
use crate::authorization;
use crate::engine::Engine;
use crate::metrics::read::{Range, all_units};
use crate::model::ecs::spot;
use crate::model::metering::bill::{self, Asked, Bill, By, Prices};
use fogbank_types::Timestamp;
use fogbank_types::alarm::MetricStatistic;
use fogbank_types::metering::{UsageKind, UsageRecord};
use http::{Method, StatusCode};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Interruption {
    what: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    since: Option<i64>,
    #[serde(default)]
    by: By,
    prices: Option<serde_json::Value>,
}

/// Whether that path is answered here.
pub fn serves(path: &str) -> bool {
    matches!(path, "spot" | "bill" | "permissions")
}

/// Status and text. Blocks on the store and at most a second on the hosts.
pub fn answer(engine: &Engine, method: &Method, path: &str, body: &[u8]) -> (StatusCode, String) {
    match (method, path) {
        (&Method::POST, "spot") => match serde_json::from_slice(body) {
            Ok(wanted) => interrupt(engine, &wanted),
            Err(error) => bad(format!(
                "the body must be {{\"what\": NAME or null}}: {error}\n"
            )),
        },
        (&Method::POST, "permissions") => {
            let asked = serde_json::from_slice(body).ok();
            let answer = asked.and_then(|inquiry| {
                authorization::answer_inquiry(&engine.snapshot(), &inquiry, engine.now())
            });
            match answer.and_then(|answer| serde_json::to_string(&answer).ok()) {
                Some(text) => (StatusCode::OK, text),
                None => bad(r#"{"error": "the body is no inquiry of a task"}"#.to_owned()),
            }
        }
        (&Method::POST, _) => match serde_json::from_slice(body) {
            Ok(question) => show(engine, question),
            Err(error) => bad(format!("the body is no question for a bill: {error}\n")),
        },
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "POST spot, bill or permissions\n".to_owned(),
        ),
    }
}

fn bad(text: String) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, text)
}

fn interrupt(engine: &Engine, wanted: &Interruption) -> (StatusCode, String) {
    let mut outcome = Ok(Vec::new());
    let written = engine.write(|tx| {
        outcome = spot::interrupt(tx, wanted.what.as_deref());
        Ok::<_, ApiError>(())
    });
    match (outcome, written) {
        (Err(refusal), _) => (StatusCode::NOT_FOUND, format!("{refusal}\n")),
        (Ok(_), Err(_)) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the region could not store the change\n".to_owned(),
        ),
        (Ok(ids), Ok(_)) => (
            StatusCode::OK,
            serde_json::json!({ "interrupted": ids }).to_string(),
        ),
    }
}

fn show(engine: &Engine, question: Question) -> (StatusCode, String) {
    let prices = match question.prices {
        None => Prices::default(),
        Some(table) => match Prices::parse(&table.to_string()) {
            Ok(prices) => prices,
            Err(error) => return bad(format!("{error}\n")),
        },
    };
    let since = question.since.map(Timestamp);
    let told = of(engine, since, question.by, &prices);
    match serde_json::to_string(&told) {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn of(engine: &Engine, since: Option<Timestamp>, by: By, prices: &Prices) -> Bill {
    let (snapshot, now) = (engine.snapshot(), engine.now());
    let asked = Asked {
        since,
        now,
        by,
        prices,
    };
    bill::bill(
        &asked,
        snapshot.usage_records.all().map(|record| &**record),
        snapshot.usage_totals.all().map(|total| &**total),
        |record| metered(engine, record, since, now),
    )
}

/// What only metrics know: capacity units of load balancers and bytes through NAT gateways.
fn metered(
    engine: &Engine,
    record: &UsageRecord,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Vec<(String, f64)> {
    let from = record.from.max(since.unwrap_or(record.from));
    let until = record.until.unwrap_or(now);
    let sum = |namespace: &str, name: &str, dimension: (&str, &str)| {
        let metric = MetricStatistic {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: vec![(dimension.0.to_owned(), dimension.1.to_owned())],
            statistic: "Sum".to_owned(),
            period_s: HOUR_S as u32,
            unit: None,
        };
        // Hours are kept longest; the first of them may have begun before.
        let hour_ms = HOUR_S * 1_000;
        let range = Range {
            start_ms: from.0.div_euclid(hour_ms) * hour_ms,
            end_ms: until.0 + 1,
            period_s: HOUR_S,
        };
        match all_units(engine.metrics(), &record.scope, &metric, range, now) {
            Ok(periods) => periods.values().map(|values| values.sum).sum(),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be read for a bill");
                0.0
            }
        }
    };
    match &record.kind {
        UsageKind::LoadBalancer { dimension } => {
            let used = sum(
                "AWS/ApplicationELB",
                "ConsumedLCUs",
                ("LoadBalancer", dimension),
            );
            vec![("alb-lcu-hour".to_owned(), used)]
        }
        UsageKind::NatGateway => {
            let id = ("NatGatewayId", record.id.as_str());
            let bytes = sum("Fogbank/Metering", "NatGatewayBytes", id);
            vec![("nat-gateway-gb".to_owned(), bytes / 1e9)]
        }
        _ => Vec::new(),
    }
}

const HOUR_S: i64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tx::test_config;
    use fogbank_store::Memory;
    use std::sync::Arc;

    #[tokio::test]
    async fn questions_are_answered_or_refused_with_a_text() {
        let engine = Engine::start(Arc::new(Memory::new()), test_config())
            .await
            .unwrap();
        let ask = move |path: &str, body: &str| {
            let (status, text) = answer(&engine, &Method::POST, path, body.as_bytes());
            (status.as_u16(), text)
        };
        tokio::task::spawn_blocking(move || {
            assert_eq!(ask("spot", r#"{"what": null}"#).0, 200);
            assert_eq!(ask("spot", r#"{"what": "api"}"#).0, 404);
            assert_eq!(ask("spot", "").0, 400);
            let (status, text) = ask("bill", r#"{"since": null}"#);
            let bill: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!((status, &bill["currency"]), (200, &"USD".into()));
            assert_eq!(ask("bill", r#"{"since": null, "prices": {}}"#).0, 400);
        })
        .await
        .unwrap();
    }
}
