use super::super::fixture::{Region, fixed_response};
use super::super::listeners::{self, ListenerChange, NewListener};
use super::super::usage;
use super::*;
use fogbank_types::Tags;

fn new(load_balancer_arn: &str, tls: TlsSettings) -> NewListener {
    NewListener {
        load_balancer_arn: load_balancer_arn.to_owned(),
        port: 443,
        protocol: "HTTPS".to_owned(),
        tls,
        default_actions: vec![fixed_response(200)],
        tags: Tags::new(),
    }
}

fn with(certificate: &str) -> TlsSettings {
    TlsSettings {
        certificates: vec![certificate.to_owned()],
        ..TlsSettings::default()
    }
}

fn verify(trust_store_arn: Option<&str>) -> MutualAuthentication {
    MutualAuthentication {
        mode: MutualAuthenticationMode::Verify,
        trust_store_arn: trust_store_arn.map(str::to_owned),
        ignore_client_certificate_expiry: false,
        advertise_ca_names: false,
    }
}

#[test]
fn https_needs_a_certificate_that_is_there_and_a_policy_that_exists() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let lb = region.load_balancer("api").arn;
    let certificate = region.certificate("a");
    let pending = region.pending_certificate("b");
    let mut create = |tls| listeners::create(&mut region.tx, &scope, new(&lb, tls));
    assert!(matches!(
        create(TlsSettings::default()),
        Err(Refusal::Validation(_))
    ));
    let gone = "arn:aws:acm:us-east-1:000000000000:certificate/gone";
    assert_eq!(
        create(with(gone)),
        Err(Refusal::CertificateNotFound(gone.to_owned()))
    );
    assert_eq!(
        create(with(&pending)),
        Err(Refusal::UnsupportedCertificate(pending.clone()))
    );
    let policy = |name: &str| TlsSettings {
        ssl_policy: Some(name.to_owned()),
        ..with(&certificate)
    };
    assert!(matches!(
        create(policy("x")),
        Err(Refusal::SslPolicyNotFound(_))
    ));
    let alpn = TlsSettings {
        alpn_policy: vec!["HTTP2Preferred".to_owned()],
        ..with(&certificate)
    };
    assert!(matches!(create(alpn), Err(Refusal::Validation(_))));
    let row = create(with(&certificate)).unwrap();
    assert_eq!(row.ssl_policy.as_deref(), Some("ELBSecurityPolicy-2016-08"));
    assert_eq!(row.certificates, [certificate.as_str()]);
    let users = usage::of_certificate(region.tx.snapshot(), &scope, &certificate);
    assert_eq!(users, [lb.as_str()]);
    assert!(usage::of_certificate(region.tx.snapshot(), &scope, &pending).is_empty());
}

#[test]
fn a_listener_changes_to_https_and_back() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let lb = region.load_balancer("api").arn;
    let certificate = region.certificate("a");
    let listener = region.listener(&lb, 443).arn;
    let mut modify = |protocol: &str, tls| {
        let change = ListenerChange {
            protocol: Some(protocol.to_owned()),
            tls,
            ..ListenerChange::default()
        };
        listeners::modify(&mut region.tx, &scope, &listener, change)
    };
    assert!(modify("HTTP", with(&certificate)).is_err(), "HTTP has none");
    assert!(
        modify("HTTPS", TlsSettings::default()).is_err(),
        "HTTPS needs one"
    );
    let row = modify("HTTPS", with(&certificate)).unwrap();
    assert_eq!(row.certificates.len(), 1);
    let row = modify("HTTPS", TlsSettings::default()).unwrap();
    assert_eq!(row.certificates.len(), 1, "it stays");
    let row = modify("HTTP", TlsSettings::default()).unwrap();
    assert_eq!((row.certificates.len(), row.ssl_policy), (0, None));
}

#[test]
fn the_list_takes_25_certificates_and_the_default_is_apart() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let lb = region.load_balancer("api").arn;
    let default = region.certificate("default");
    let listener = region.https_listener(&lb, 443, &default).arn;
    let certificates: Vec<String> = (0..26)
        .map(|n| region.certificate(&format!("c{n}")))
        .collect();
    let add = |region: &mut Region, arn: &String| {
        add_certificate(&mut region.tx, &scope, &listener, std::slice::from_ref(arn))
    };
    let remove = |region: &mut Region, arn: &String| {
        remove_certificate(&mut region.tx, &scope, &listener, std::slice::from_ref(arn))
    };
    for arn in &certificates[..24] {
        add(&mut region, arn).unwrap();
        add(&mut region, arn).unwrap();
    }
    assert!(matches!(
        remove(&mut region, &default),
        Err(Refusal::OperationNotPermitted(_))
    ));
    add(&mut region, &default).unwrap();
    assert_eq!(
        add(&mut region, &certificates[24]),
        Err(Refusal::TooManyCertificates(lb))
    );
    remove(&mut region, &default).unwrap();
    add(&mut region, &certificates[24]).unwrap();
    remove(&mut region, &certificates[25]).unwrap();
    let row = region
        .tx
        .snapshot()
        .listeners
        .get(&scope, &listener)
        .unwrap();
    assert_eq!(
        (row.certificates.len(), &row.certificates[0]),
        (26, &default)
    );
    let change = ListenerChange {
        tls: with(&certificates[25]),
        ..ListenerChange::default()
    };
    let row = listeners::modify(&mut region.tx, &scope, &listener, change).unwrap();
    assert_eq!(
        (row.certificates.len(), &row.certificates[0]),
        (26, &certificates[25])
    );
    let two = add_certificate(&mut region.tx, &scope, &listener, &certificates[..2]);
    assert!(matches!(two, Err(Refusal::Validation(_))));
}

#[test]
fn clients_are_verified_with_a_store_on_two_listeners_at_most() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let lb = region.load_balancer("api").arn;
    let certificate = region.certificate("a");
    let store = region.trust_store("clients").arn;
    let listeners = [443, 444, 445].map(|port| region.https_listener(&lb, port, &certificate).arn);
    let mut set = |listener: &str, mutual: MutualAuthentication| {
        let tls = TlsSettings {
            mutual_authentication: Some(mutual),
            ..TlsSettings::default()
        };
        let change = ListenerChange {
            tls,
            ..ListenerChange::default()
        };
        listeners::modify(&mut region.tx, &scope, listener, change)
    };
    assert!(matches!(
        set(&listeners[0], verify(None)),
        Err(Refusal::Validation(_))
    ));
    let gone = arns::trust_store(
        &Scope::new("000000000000", "us-east-1"),
        "gone",
        "0123456789abcdef",
    );
    assert_eq!(
        set(&listeners[0], verify(Some(&gone))),
        Err(Refusal::TrustStoreNotFound(gone.clone()))
    );
    let passthrough = |trust_store_arn| MutualAuthentication {
        mode: MutualAuthenticationMode::Passthrough,
        ..verify(trust_store_arn)
    };
    assert!(set(&listeners[0], passthrough(Some(&store))).is_err());
    set(&listeners[2], passthrough(None)).unwrap();
    set(&listeners[0], verify(Some(&store))).unwrap();
    set(&listeners[1], verify(Some(&store))).unwrap();
    set(&listeners[1], verify(Some(&store))).unwrap();
    let third = set(&listeners[2], verify(Some(&store)));
    assert!(matches!(
        third,
        Err(Refusal::InvalidConfigurationRequest(_))
    ));
    let off = MutualAuthentication {
        mode: MutualAuthenticationMode::Off,
        ..verify(None)
    };
    assert_eq!(set(&listeners[1], off).unwrap().mutual_authentication, None);
}
