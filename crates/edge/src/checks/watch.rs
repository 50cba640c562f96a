//! Drives one check: each of its checkers looks once an interval, one after the other.
//!
//! Called by `process`. AWS's checkers don't coordinate; ours take turns, so that an endpoint is looked at evenly and a
//! dead one is found as soon as the interval allows.

use std::sync::Arc;
use std::time::Duration;

use fogbank_types::route53::{EndpointCheck, HealthCheck};
use fogbank_types::{RegionConfig, Row};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::board::Board;
use super::checker::Post;
use super::probe::Prober;
use super::process::now;

/// However fast the region runs.
const TURN_MIN: Duration = Duration::from_millis(5);

/// Between two looks of a check, whoever's.
fn turn(config: &RegionConfig, endpoint: &EndpointCheck, checkers: usize) -> Duration {
    let interval_ms = config.scaled_ms(u64::from(endpoint.interval_s) * 1_000);
    (Duration::from_millis(interval_ms) / checkers.max(1) as u32).max(TURN_MIN)
}

/// Until it is dropped.
pub async fn watch(
    config: Arc<RegionConfig>,
    prober: Arc<Prober>,
    board: Arc<Board>,
    check: Arc<HealthCheck>,
    endpoint: EndpointCheck,
    posts: Vec<Post>,
) {
    let (key, version) = (check.key(), check.version);
    let turn = turn(&config, &endpoint, posts.len());
    let endpoint = Arc::new(endpoint);
    let mut turns = interval_at(Instant::now(), turn);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = JoinSet::new();
    let mut is_looking = vec![false; posts.len()];
    for number in (0..posts.len()).cycle() {
        // A turn; looks that end meanwhile are noted.
        loop {
            tokio::select! {
                biased;
                Some(done) = looks.join_next() => {
                    let Ok((number, looked)) = done else { continue };
                    is_looking[number] = false;
                    match looked {
                        Ok(look) => board.note(&key, version, number, now(), &look),
                        Err(error) => tracing::debug!(%error, health_check = check.id, "a checker cannot look"),
                    }
                }
                _ = turns.tick() => break,
            }
        }
        // A slow endpoint is looked at less often, never by one checker twice at a time.
        if std::mem::replace(&mut is_looking[number], true) {
            continue;
        }
        let (prober, check, endpoint) = (prober.clone(), check.clone(), endpoint.clone());
        let post = posts[number].clone();
        looks.spawn(async move { (number, prober.look(&check.id, &endpoint, &post).await) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::route53::CheckProtocol;

    #[test]
    fn sixteen_checkers_share_an_interval() {
        let endpoint = EndpointCheck {
            protocol: CheckProtocol::Tcp,
            address: None,
            domain_name: None,
            port: 1,
            path: None,
            search: None,
            interval_s: 30,
            threshold: 3,
            measures_latency: false,
            sends_sni: false,
            regions: Vec::new(),
        };
        let mut config = crate::dns::tests::fixture::config();
        assert_eq!(turn(&config, &endpoint, 16), Duration::from_millis(1_875));
        assert_eq!(turn(&config, &endpoint, 6), Duration::from_secs(5));
        config.speed = 1_000.0;
        assert_eq!(turn(&config, &endpoint, 16), TURN_MIN);
    }
}
