use super::*;
use crate::meters::fold::tests::{GROUP, counts, health, table};
use fogbank_types::{EniId, Scope};

fn meters() -> Meters {
    let meters = Meters::new();
    let eni = EniId::from_bits(1);
    meters.serves(
        &eni,
        &Scope::new("000000000000", "us-east-1"),
        &table("us-east-1a", 2),
    );
    meters.heard_counts(&eni, counts(4, &[5, 7]));
    let targets = health(&[Health::Healthy, Health::Unhealthy])
        .remove(GROUP)
        .unwrap();
    meters.heard_health(
        &eni,
        &[fogbank_edge::http::GroupHealth {
            target_group: GROUP.to_owned(),
            targets,
        }],
    );
    meters
}

#[test]
fn the_text_is_what_prometheus_reads() {
    let text = text(&meters());
    let eni = EniId::from_bits(1);
    let labels = format!(
        "load_balancer=\"app/web/4567\",zone=\"us-east-1a\",node=\"{eni}\",target_group=\"targetgroup/api/0123\""
    );
    for line in [
        format!("fogbank_alb_requests_total{{{labels}}} 4"),
        format!("fogbank_alb_target_responses_total{{{labels},code=\"2xx\"}} 4"),
        format!("fogbank_alb_targets{{{labels},health=\"unhealthy\"}} 1"),
        format!("fogbank_alb_target_response_seconds_bucket{{{labels},le=\"0.001\"}} 2"),
        format!("fogbank_alb_target_response_seconds_count{{{labels}}} 2"),
        "# TYPE fogbank_alb_active_connections gauge".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let types: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
    let mut unique = types.clone();
    unique.dedup();
    assert_eq!(types, unique, "a family stands together");
}

#[tokio::test]
async fn only_metrics_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let meters = meters();
        while let Ok((stream, _)) = listener.accept().await {
            let _ = answer(&meters, stream).await;
        }
    });
    for (request, status) in [
        ("GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
        (
            "POST /metrics HTTP/1.1\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed",
        ),
    ] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(status), "{answer}");
    }
}
