//! `/_fogbank/zones`: the operator lets zones fail and heals them. For the command line and for test suites.
//!
//! `GET zones` lists the faults, `GET zones/<zone>` shows one zone's, `POST zones/<zone>` with
//! `{"fault": "fail" | "isolate" | {"slow_ms": n} | null}` sets it and answers when the hosts act by it.

use crate::api::ApiError;
use crate::engine::Engine;
use crate::model::vpc::zone_faults;
use fogbank_types::Snapshot;
use fogbank_types::ec2::ZoneFaultKind;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    fault: Option<Fault>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fault {
    Fail,
    Isolate,
    #[serde(untagged)]
    Slow {
        slow_ms: u32,
    },
}

#[derive(Serialize)]
struct Shown {
    zone: String,
    fault: Option<Fault>,
    /// Milliseconds since 1970.
    since: Option<i64>,
}

impl From<Fault> for ZoneFaultKind {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Fail => Self::Failed,
            Fault::Isolate => Self::Isolated,
            Fault::Slow { slow_ms } => Self::Slow { delay_ms: slow_ms },
        }
    }
}

impl From<ZoneFaultKind> for Fault {
    fn from(kind: ZoneFaultKind) -> Self {
        match kind {
            ZoneFaultKind::Failed => Self::Fail,
            ZoneFaultKind::Isolated => Self::Isolate,
            ZoneFaultKind::Slow { delay_ms } => Self::Slow { slow_ms: delay_ms },
        }
    }
}

/// Status and text. Blocks on the store and at most a second on the hosts.
pub fn answer(engine: &Engine, method: &Method, zone: &str, body: &[u8]) -> (StatusCode, String) {
    match (method, zone) {
        (&Method::GET, "") => {
            let shown: Vec<Shown> = zone_faults::all(&engine.snapshot())
                .map(|fault| Shown {
                    zone: fault.zone.clone(),
                    fault: Some(fault.kind.into()),
                    since: Some(fault.since.0),
                })
                .collect();
            (
                StatusCode::OK,
                serde_json::json!({ "zones": shown }).to_string(),
            )
        }
        (&Method::GET, zone) => match zone_faults::check(zone) {
            Ok(()) => (StatusCode::OK, show(&engine.snapshot(), zone)),
            Err(refusal) => (StatusCode::NOT_FOUND, format!("{refusal}\n")),
        },
        (&Method::POST, zone) if !zone.is_empty() => match serde_json::from_slice::<Change>(body) {
            Ok(change) => set(engine, zone, change.fault.map(Into::into)),
            Err(_) => (
                StatusCode::BAD_REQUEST,
                "the body must be {\"fault\": \"fail\"}, \"isolate\", {\"slow_ms\": n} or null\n"
                    .to_owned(),
            ),
        },
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "GET zones, or POST zones/<zone>\n".to_owned(),
        ),
    }
}

fn set(engine: &Engine, zone: &str, kind: Option<ZoneFaultKind>) -> (StatusCode, String) {
    let mut refused = None;
    let written = engine.write(|tx| {
        refused = zone_faults::set(tx, zone, kind).err();
        Ok::<_, ApiError>(())
    });
    match (refused, written) {
        (Some(refusal @ zone_faults::Refusal::UnknownZone(_)), _) => {
            (StatusCode::NOT_FOUND, format!("{refusal}\n"))
        }
        (Some(refusal), _) => (StatusCode::BAD_REQUEST, format!("{refusal}\n")),
        (None, Err(_)) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the region could not store the change\n".to_owned(),
        ),
        (None, Ok(((), revision))) => {
            if let Some(revision) = revision {
                engine.wait_for_hosts(revision);
            }
            (StatusCode::OK, show(&engine.snapshot(), zone))
        }
    }
}

fn show(snapshot: &Snapshot, zone: &str) -> String {
    let fault = zone_faults::all(snapshot).find(|fault| fault.zone == zone);
    let shown = Shown {
        zone: zone.to_owned(),
        fault: fault.map(|fault| fault.kind.into()),
        since: fault.map(|fault| fault.since.0),
    };
    serde_json::json!(shown).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tx::test_config;
    use fogbank_store::Memory;
    use std::sync::Arc;

    async fn ask(requests: Vec<(Method, &'static str, &'static str)>) -> Vec<(u16, String)> {
        let engine = Engine::start(Arc::new(Memory::new()), test_config())
            .await
            .unwrap();
        tokio::task::spawn_blocking(move || {
            let one = |(method, zone, body): (Method, &str, &str)| {
                let (status, text) = answer(&engine, &method, zone, body.as_bytes());
                (status.as_u16(), text)
            };
            requests.into_iter().map(one).collect()
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn a_fault_is_set_listed_and_taken_away() {
        let answers = ask(vec![
            (Method::POST, "us-east-1a", r#"{"fault": "fail"}"#),
            (Method::POST, "us-east-1b", r#"{"fault": {"slow_ms": 20}}"#),
            (Method::GET, "", ""),
            (Method::POST, "us-east-1a", r#"{"fault": null}"#),
            (Method::GET, "us-east-1a", ""),
        ])
        .await;
        assert!(
            answers.iter().all(|(status, _)| *status == 200),
            "{answers:?}"
        );
        let list: serde_json::Value = serde_json::from_str(&answers[2].1).unwrap();
        assert_eq!(list["zones"][0]["fault"], "fail");
        assert_eq!(list["zones"][1]["fault"]["slow_ms"], 20);
        let healed: serde_json::Value = serde_json::from_str(&answers[4].1).unwrap();
        assert_eq!(
            (&healed["zone"], &healed["fault"]),
            (&"us-east-1a".into(), &serde_json::Value::Null)
        );
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_with_a_text() {
        let answers = ask(vec![
            (Method::POST, "us-east-1z", r#"{"fault": "fail"}"#),
            (Method::POST, "us-east-1a", r#"{"fault": "burn"}"#),
            (Method::POST, "us-east-1a", r#"{"fault": {"slow_ms": 0}}"#),
            (Method::GET, "mars", ""),
            (Method::DELETE, "us-east-1a", ""),
        ])
        .await;
        let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [404, 400, 400, 404, 405]);
        assert!(answers[0].1.contains("us-east-1z"));
    }
}
