//! Trust stores.
//!
//! Bundles come from `crate::buckets`. AWS gives content back by a URL of S3 that is good for a while; here it is a
//! `file:` URL below the data folder, for clients on this host (docs/decisions).

use super::page;
use crate::api::{ApiError, Context};
use crate::buckets::{self, BucketError};
use crate::model::elb::trust_stores::{self, NewTrustStore};
use crate::model::elb::{Refusal, arns, invalid, limits, not_offered, tags, trust_material};
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::elbv2::*;

type Row = fogbank_types::elb::TrustStore;

/// The bucket that content is given back from. Callers can't name it: an account's bucket has no such name.
const CONTENT_BUCKET: &str = "fogbank.trust-stores";

pub fn create(
    context: &Context,
    input: CreateTrustStoreInput,
) -> Result<CreateTrustStoreOutput, ApiError> {
    let pairs = input.tags.unwrap_or_default().into_iter();
    let new = NewTrustStore {
        name: input.name,
        bundle: bundle(
            context,
            &input.ca_certificates_bundle_s3_bucket,
            &input.ca_certificates_bundle_s3_key,
            input.ca_certificates_bundle_s3_object_version.as_deref(),
        )?,
        tags: tags::collect(pairs.map(|tag| (tag.key, tag.value.unwrap_or_default())))?,
    };
    let scope = context.scope();
    let row = context.write(|tx| Ok(trust_stores::create(tx, &scope, new.clone())?))?;
    Ok(CreateTrustStoreOutput {
        trust_stores: Some(vec![render(&row)]),
    })
}

/// Buckets here keep one version of an object; S3 calls such a one `null`.
fn check_version(version: Option<&str>) -> Result<(), Refusal> {
    match version {
        None | Some("" | "null") => Ok(()),
        Some(_) => Err(not_offered("A version of an S3 object")),
    }
}

fn bundle(
    context: &Context,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Vec<u8>, ApiError> {
    check_version(version)?;
    buckets::read(context.config(), bucket, key, limits::CA_BUNDLE_MAX_BYTES).map_err(|error| {
        let text = format!("CA certificates bundle: {error}");
        match error {
            BucketError::TooLarge { .. } => Refusal::InvalidCaCertificatesBundle(text).into(),
            BucketError::NotFound { .. } => Refusal::CaCertificatesBundleNotFound(text).into(),
            BucketError::File { .. } => failed(&error),
        }
    })
}

fn failed(error: &BucketError) -> ApiError {
    let source = std::error::Error::source(error);
    tracing::error!(%error, source, "trust store content");
    ApiError::new("InternalFailure", "The region could not use the object.").with_status(500)
}

pub fn describe(
    context: &Context,
    input: DescribeTrustStoresInput,
) -> Result<DescribeTrustStoresOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let rows = select(&snapshot, &scope, input.trust_store_arns, input.names)?;
    let (rows, next_marker) = page::cut(
        rows,
        |row| &row.arn,
        input.marker.as_deref(),
        input.page_size,
    )?;
    Ok(DescribeTrustStoresOutput {
        trust_stores: Some(rows.into_iter().map(render).collect()),
        next_marker,
    })
}

fn select<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arns: Option<Vec<String>>,
    names: Option<Vec<String>>,
) -> Result<Vec<&'a Row>, Refusal> {
    let all = || snapshot.trust_stores.in_scope(scope).map(|row| &**row);
    let arns = arns.filter(|arns| !arns.is_empty());
    let names = names.filter(|names| !names.is_empty());
    match (arns, names) {
        (Some(_), Some(_)) => Err(invalid(
            "Trust store names and ARNs cannot be specified at the same time",
        )),
        (Some(arns), None) => arns
            .iter()
            .map(|arn| arns::find_trust_store(snapshot, scope, arn).map(|row| &**row))
            .collect(),
        (None, Some(names)) => names
            .iter()
            .map(|name| {
                let mut all = all();
                all.find(|row| row.name == *name)
                    .ok_or_else(|| Refusal::TrustStoreNotFound(name.clone()))
            })
            .collect(),
        (None, None) => Ok(all().collect()),
    }
}

pub fn modify(
    context: &Context,
    input: ModifyTrustStoreInput,
) -> Result<ModifyTrustStoreOutput, ApiError> {
    let (scope, arn) = (context.scope(), input.trust_store_arn);
    arns::find_trust_store(&context.snapshot(), &scope, &arn)?;
    let bundle = bundle(
        context,
        &input.ca_certificates_bundle_s3_bucket,
        &input.ca_certificates_bundle_s3_key,
        input.ca_certificates_bundle_s3_object_version.as_deref(),
    )?;
    let row = context.write(|tx| Ok(trust_stores::modify(tx, &scope, &arn, &bundle)?))?;
    Ok(ModifyTrustStoreOutput {
        trust_stores: Some(vec![render(&row)]),
    })
}

pub fn delete(
    context: &Context,
    input: DeleteTrustStoreInput,
) -> Result<DeleteTrustStoreOutput, ApiError> {
    let (scope, arn) = (context.scope(), input.trust_store_arn);
    context.write(|tx| Ok(trust_stores::delete(tx, &scope, &arn)?))?;
    Ok(DeleteTrustStoreOutput {})
}

pub fn add_revocations(
    context: &Context,
    input: AddTrustStoreRevocationsInput,
) -> Result<AddTrustStoreRevocationsOutput, ApiError> {
    let (scope, arn) = (context.scope(), input.trust_store_arn);
    arns::find_trust_store(&context.snapshot(), &scope, &arn)?;
    let contents = input.revocation_contents.unwrap_or_default();
    let files: Vec<Vec<u8>> = contents
        .into_iter()
        .map(|content| revocation_file(context, content))
        .collect::<Result<_, _>>()?;
    let added = context.write(|tx| Ok(trust_stores::add_revocations(tx, &scope, &arn, &files)?))?;
    let render = |row: &fogbank_types::elb::Revocation| TrustStoreRevocation {
        trust_store_arn: Some(arn.clone()),
        revocation_id: Some(row.id),
        revocation_type: Some("CRL".to_owned()),
        number_of_revoked_entries: Some(row.revoked_entries),
    };
    Ok(AddTrustStoreRevocationsOutput {
        trust_store_revocations: Some(added.iter().map(render).collect()),
    })
}

fn revocation_file(context: &Context, content: RevocationContent) -> Result<Vec<u8>, ApiError> {
    check_version(content.s3_object_version.as_deref())?;
    match content.revocation_type.as_deref() {
        None | Some("CRL") => {}
        Some(other) => {
            return Err(invalid(format!("Revocation type '{other}' must be 'CRL'")).into());
        }
    }
    let (Some(bucket), Some(key)) = (content.s3_bucket, content.s3_key) else {
        return Err(invalid("A bucket and a key must be specified for revocation content").into());
    };
    let most = limits::REVOCATION_LIST_MAX_BYTES;
    buckets::read(context.config(), &bucket, &key, most).map_err(|error| {
        let text = format!("Revocation content: {error}");
        match error {
            BucketError::TooLarge { .. } => Refusal::InvalidRevocationContent(text).into(),
            BucketError::NotFound { .. } => Refusal::RevocationContentNotFound(text).into(),
            BucketError::File { .. } => failed(&error),
        }
    })
}

pub fn remove_revocations(
    context: &Context,
    input: RemoveTrustStoreRevocationsInput,
) -> Result<RemoveTrustStoreRevocationsOutput, ApiError> {
    let (scope, arn, ids) = (context.scope(), input.trust_store_arn, input.revocation_ids);
    context.write(|tx| Ok(trust_stores::remove_revocations(tx, &scope, &arn, &ids)?))?;
    Ok(RemoveTrustStoreRevocationsOutput {})
}

pub fn describe_revocations(
    context: &Context,
    input: DescribeTrustStoreRevocationsInput,
) -> Result<DescribeTrustStoreRevocationsOutput, ApiError> {
    let snapshot = context.snapshot();
    let row = arns::find_trust_store(&snapshot, &context.scope(), &input.trust_store_arn)?;
    let ids = input.revocation_ids.filter(|ids| !ids.is_empty());
    let rows: Vec<_> = match ids {
        Some(ids) => ids
            .into_iter()
            .map(|id| trust_stores::find_revocation(row, id))
            .collect::<Result<_, _>>()?,
        None => row.revocations.iter().collect(),
    };
    let keyed: Vec<_> = rows
        .into_iter()
        .map(|own| (own.id.to_string(), own))
        .collect();
    let (page, next_marker) = page::cut(
        keyed,
        |(id, _)| id,
        input.marker.as_deref(),
        input.page_size,
    )?;
    let render =
        |(_, own): (String, &fogbank_types::elb::Revocation)| DescribeTrustStoreRevocation {
            trust_store_arn: Some(row.arn.clone()),
            revocation_id: Some(own.id),
            revocation_type: Some("CRL".to_owned()),
            number_of_revoked_entries: Some(own.revoked_entries),
        };
    Ok(DescribeTrustStoreRevocationsOutput {
        trust_store_revocations: Some(page.into_iter().map(render).collect()),
        next_marker,
    })
}

pub fn describe_associations(
    context: &Context,
    input: DescribeTrustStoreAssociationsInput,
) -> Result<DescribeTrustStoreAssociationsOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let users = trust_stores::associations(&snapshot, &scope, &input.trust_store_arn)?;
    let (page, next_marker) =
        page::cut(users, |arn| arn, input.marker.as_deref(), input.page_size)?;
    let render = |arn| TrustStoreAssociation {
        resource_arn: Some(arn),
    };
    Ok(DescribeTrustStoreAssociationsOutput {
        trust_store_associations: Some(page.into_iter().map(render).collect()),
        next_marker,
    })
}

pub fn delete_shared_association(
    context: &Context,
    input: DeleteSharedTrustStoreAssociationInput,
) -> Result<DeleteSharedTrustStoreAssociationOutput, ApiError> {
    let (arn, resource) = (&input.trust_store_arn, &input.resource_arn);
    let (snapshot, scope) = (context.snapshot(), context.scope());
    trust_stores::delete_shared_association(&snapshot, &scope, arn, resource)?;
    Ok(DeleteSharedTrustStoreAssociationOutput {})
}

/// Resources can't be shared here, so none has a policy.
pub fn get_resource_policy(
    context: &Context,
    input: GetResourcePolicyInput,
) -> Result<GetResourcePolicyOutput, ApiError> {
    arns::find_trust_store(&context.snapshot(), &context.scope(), &input.resource_arn)?;
    let text = format!("The resource '{}' has no policy", input.resource_arn);
    Err(Refusal::ResourceNotFound(text).into())
}

pub fn get_bundle(
    context: &Context,
    input: GetTrustStoreCaCertificatesBundleInput,
) -> Result<GetTrustStoreCaCertificatesBundleOutput, ApiError> {
    let snapshot = context.snapshot();
    let row = arns::find_trust_store(&snapshot, &context.scope(), &input.trust_store_arn)?;
    let location = given_back(context, row, "ca_bundle.pem", &row.ca_bundle)?;
    Ok(GetTrustStoreCaCertificatesBundleOutput {
        location: Some(location),
    })
}

pub fn get_revocation_content(
    context: &Context,
    input: GetTrustStoreRevocationContentInput,
) -> Result<GetTrustStoreRevocationContentOutput, ApiError> {
    let snapshot = context.snapshot();
    let row = arns::find_trust_store(&snapshot, &context.scope(), &input.trust_store_arn)?;
    let own = trust_stores::find_revocation(row, input.revocation_id)?;
    let location = given_back(
        context,
        row,
        &format!("revocation-{}.pem", own.id),
        &own.list,
    )?;
    Ok(GetTrustStoreRevocationContentOutput {
        location: Some(location),
    })
}

/// Puts the content where a client can fetch it; answers the URL.
fn given_back(context: &Context, row: &Row, name: &str, text: &str) -> Result<String, ApiError> {
    let Scope { account, region } = &row.scope;
    let key = format!("{account}/{region}/{}/{name}", row.tail);
    let path = buckets::write(context.config(), CONTENT_BUCKET, &key, text.as_bytes())
        .map_err(|error| failed(&error))?;
    Ok(format!("file://{}", path.display()))
}

fn render(row: &Row) -> TrustStore {
    TrustStore {
        name: Some(row.name.clone()),
        trust_store_arn: Some(row.arn.clone()),
        // The bundle is read before the call is answered: it is never CREATING.
        status: Some("ACTIVE".to_owned()),
        number_of_ca_certificates: Some(trust_material::count(&row.ca_bundle) as i32),
        total_revoked_entries: Some(trust_stores::revoked_entries(row)),
    }
}
