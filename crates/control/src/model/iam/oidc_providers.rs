//! OpenID Connect providers: whom an account lets vouch for users.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html>

use super::{Refusal, entities, merged};
use crate::model::Tx;
use fogbank_types::iam::OidcProvider;
use fogbank_types::{Scope, Snapshot, Tags};
use std::sync::Arc;

const PROVIDERS_MAX: usize = 100;
const CLIENT_IDS_MAX: usize = 100;
const THUMBPRINTS_MAX: usize = 5;
const THUMBPRINT_CHARACTERS: usize = 40;
const TEXT_MAX: usize = 255;

pub struct NewProvider {
    pub url: String,
    pub client_ids: Vec<String>,
    pub thumbprints: Vec<String>,
    pub tags: Tags,
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<OidcProvider>, Refusal> {
    entities::find(snapshot, scope, arn)
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewProvider) -> Result<OidcProvider, Refusal> {
    let url = checked_url(&new.url)?;
    check_thumbprints(&new.thumbprints)?;
    let mut client_ids = Vec::new();
    for id in new.client_ids {
        add(&mut client_ids, id)?;
    }
    let arn = scope.arn("iam", &format!("oidc-provider/{url}"));
    if tx.snapshot().oidc_providers.contains(scope, &arn) {
        return Err(Refusal::EntityAlreadyExists(format!(
            "Provider with url https://{url} already exists."
        )));
    }
    if tx.snapshot().oidc_providers.in_scope(scope).count() >= PROVIDERS_MAX {
        return Err(Refusal::LimitExceeded(format!(
            "Cannot exceed quota for OpenIdConnectProvidersPerAccount: {PROVIDERS_MAX}"
        )));
    }
    let provider = OidcProvider {
        scope: scope.clone(),
        arn,
        url,
        client_ids,
        thumbprints: new.thumbprints,
        created_at: tx.now(),
        tags: merged(&Tags::new(), new.tags, &[])?,
    };
    tx.put(provider.clone());
    Ok(provider)
}

/// "The URL must begin with https:// [...] path components are allowed but query parameters are not." Without the scheme.
fn checked_url(url: &str) -> Result<String, Refusal> {
    let invalid = || Refusal::Validation("Invalid Open ID Connect Provider URL".to_owned());
    let rest = url.strip_prefix("https://").ok_or_else(invalid)?;
    let host = rest.split('/').next().unwrap_or_default();
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b':';
    let is_good = |b: u8| b.is_ascii_graphic() && !b"?#".contains(&b);
    let good = url.len() <= TEXT_MAX
        && !host.is_empty()
        && host.bytes().all(is_host)
        && rest.bytes().all(is_good);
    if good {
        Ok(rest.to_owned())
    } else {
        Err(invalid())
    }
}

/// "The length of a thumbprint is 40 characters."
fn check_thumbprints(thumbprints: &[String]) -> Result<(), Refusal> {
    if thumbprints.len() > THUMBPRINTS_MAX {
        return Err(Refusal::InvalidInput(format!(
            "Thumbprint list must contain fewer than {THUMBPRINTS_MAX} entries."
        )));
    }
    let is_good = |text: &&String| {
        text.len() == THUMBPRINT_CHARACTERS && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    match thumbprints.iter().find(|text| !is_good(text)) {
        None => Ok(()),
        Some(bad) => Err(Refusal::Validation(format!(
            "Invalid thumbprint '{bad}': it has {THUMBPRINT_CHARACTERS} hexadecimal digits."
        ))),
    }
}

/// One that is there already stays.
fn add(client_ids: &mut Vec<String>, id: String) -> Result<(), Refusal> {
    if id.is_empty() || id.len() > TEXT_MAX {
        return Err(Refusal::Validation(format!(
            "A client ID has 1 to {TEXT_MAX} characters."
        )));
    }
    if client_ids.contains(&id) {
        return Ok(());
    }
    if client_ids.len() >= CLIENT_IDS_MAX {
        return Err(Refusal::LimitExceeded(format!(
            "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {CLIENT_IDS_MAX}"
        )));
    }
    client_ids.push(id);
    Ok(())
}

/// "It does not fail or return an error if you add an existing client ID to the provider."
pub fn add_client_id(tx: &mut Tx, scope: &Scope, arn: &str, id: String) -> Result<(), Refusal> {
    let mut provider = OidcProvider::clone(find(tx.snapshot(), scope, arn)?);
    add(&mut provider.client_ids, id)?;
    tx.put(provider);
    Ok(())
}

/// "It does not fail or return an error if you try to remove a client ID that does not exist."
pub fn remove_client_id(tx: &mut Tx, scope: &Scope, arn: &str, id: &str) -> Result<(), Refusal> {
    let mut provider = OidcProvider::clone(find(tx.snapshot(), scope, arn)?);
    provider.client_ids.retain(|known| known != id);
    tx.put(provider);
    Ok(())
}

/// "The list that you pass with this operation completely replaces the existing list."
pub fn update_thumbprints(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    thumbprints: Vec<String>,
) -> Result<(), Refusal> {
    check_thumbprints(&thumbprints)?;
    let mut provider = OidcProvider::clone(find(tx.snapshot(), scope, arn)?);
    provider.thumbprints = thumbprints;
    tx.put(provider);
    Ok(())
}

/// "It does not fail or return an error if you call the operation for a provider that does not exist."
pub fn delete(tx: &mut Tx, scope: &Scope, arn: &str) {
    tx.delete::<OidcProvider>(scope, arn);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:iam::000000000000:oidc-provider/token.example.com/a";

    fn scope() -> Scope {
        Scope::new("000000000000", "global")
    }

    fn new(url: &str) -> NewProvider {
        NewProvider {
            url: url.to_owned(),
            client_ids: vec!["sts.amazonaws.com".to_owned()],
            thumbprints: vec!["0".repeat(40)],
            tags: Tags::new(),
        }
    }

    #[test]
    fn a_provider_is_known_by_its_url() {
        let mut tx = Tx::for_test();
        let made = create(&mut tx, &scope(), new("https://token.example.com/a")).unwrap();
        assert_eq!(
            (made.arn.as_str(), made.url.as_str()),
            (ARN, "token.example.com/a")
        );
        let again = create(&mut tx, &scope(), new("https://token.example.com/a"));
        assert!(matches!(again, Err(Refusal::EntityAlreadyExists(_))));
        delete(&mut tx, &scope(), ARN);
        delete(&mut tx, &scope(), ARN);
        let gone = find(tx.snapshot(), &scope(), ARN);
        assert!(matches!(gone, Err(Refusal::NoSuchEntity(text)) if text.ends_with(ARN)));
    }

    #[test]
    fn urls_and_thumbprints_that_are_none_are_refused() {
        let mut tx = Tx::for_test();
        for url in [
            "",
            "http://a.test",
            "a.test",
            "https://",
            "https:///a",
            "https://a.test/?q=1",
            "https://a b.test",
        ] {
            let made = create(&mut tx, &scope(), new(url));
            assert!(matches!(made, Err(Refusal::Validation(_))), "{url}");
        }
        for (count, length) in [(6, 40), (1, 39), (1, 41)] {
            let made = create(
                &mut tx,
                &scope(),
                NewProvider {
                    thumbprints: vec!["a".repeat(length); count],
                    ..new("https://a.test")
                },
            );
            assert!(made.is_err(), "{count} of {length}");
        }
        assert!(tx.snapshot().oidc_providers.is_empty());
    }

    #[test]
    fn client_ids_come_and_go_up_to_a_hundred() {
        let mut tx = Tx::for_test();
        create(&mut tx, &scope(), new("https://token.example.com/a")).unwrap();
        for n in 0..CLIENT_IDS_MAX - 1 {
            add_client_id(&mut tx, &scope(), ARN, format!("c{n}")).unwrap();
            add_client_id(&mut tx, &scope(), ARN, format!("c{n}")).unwrap();
        }
        let over = add_client_id(&mut tx, &scope(), ARN, "one more".to_owned());
        assert!(matches!(over, Err(Refusal::LimitExceeded(_))));
        remove_client_id(&mut tx, &scope(), ARN, "c1").unwrap();
        remove_client_id(&mut tx, &scope(), ARN, "c1").unwrap();
        let provider = find(tx.snapshot(), &scope(), ARN).unwrap();
        assert_eq!(provider.client_ids.len(), CLIENT_IDS_MAX - 1);
        update_thumbprints(&mut tx, &scope(), ARN, Vec::new()).unwrap();
        assert!(
            find(tx.snapshot(), &scope(), ARN)
                .unwrap()
                .thumbprints
                .is_empty()
        );
    }
}
