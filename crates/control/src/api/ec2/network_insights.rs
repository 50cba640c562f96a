//! Reachability Analyzer: its paths and analyses. How findings look stands in `network_insights_findings`.

use super::network_insights_findings as findings;
use super::query::{query, rows};
use super::{not_offered, optional, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::insights::{self, NewPath};
use crate::model::vpc::{Refusal, ids};
use fogbank_types::diagnosis::{
    NetworkInsightsAnalysis as AnalysisRow, NetworkInsightsPath as PathRow, PathHop,
};
use fogbank_types::{NetworkInsightsAnalysisId, NetworkInsightsPathId, Snapshot};
use fogbank_wire::ec2::*;
use std::net::IpAddr;

fn address(parameter: &str, text: Option<String>) -> Result<Option<IpAddr>, Refusal> {
    let parse = |text: String| {
        text.parse()
            .map_err(|_| Refusal::parameter(parameter, &text, "This is not a valid IP address."))
    };
    text.map(parse).transpose()
}

fn render_path(row: &PathRow) -> NetworkInsightsPath {
    let arn = |end: &str| insights::end_arn(&row.scope, end);
    NetworkInsightsPath {
        created_date: Some(row.created_at),
        destination: row
            .destination
            .as_deref()
            .map(|end| insights::end_id(end).to_owned()),
        destination_arn: row.destination.as_deref().and_then(arn),
        destination_ip: row.destination_ip.map(|ip| ip.to_string()),
        destination_port: row.destination_port.map(i32::from),
        network_insights_path_arn: arn(row.path_id.as_str()),
        network_insights_path_id: Some(row.path_id.to_string()),
        protocol: Some(row.protocol.clone()),
        source: Some(insights::end_id(&row.source).to_owned()),
        source_arn: arn(&row.source),
        source_ip: row.source_ip.map(|ip| ip.to_string()),
        tags: tags::render(&row.tags),
        ..NetworkInsightsPath::default()
    }
}

pub fn create_path(
    context: &Context,
    request: CreateNetworkInsightsPathRequest,
) -> Result<CreateNetworkInsightsPathResult, ApiError> {
    let filtered = request.filter_at_source.is_some() || request.filter_at_destination.is_some();
    not_offered(filtered, "A packet filter at the end of a path")?;
    let new = NewPath {
        source: request.source,
        destination: request.destination,
        source_ip: address("SourceIp", request.source_ip)?,
        destination_ip: address("DestinationIp", request.destination_ip)?,
        protocol: request.protocol,
        destination_port: request.destination_port,
        client_token: Some(request.client_token).filter(|token| !token.is_empty()),
        tags: tags::specified(request.tag_specifications, "network-insights-path")?,
    };
    let row = write(context, request.dry_run, |tx| {
        insights::create_path(tx, &context.scope(), new.clone())
    })?;
    Ok(CreateNetworkInsightsPathResult {
        network_insights_path: Some(render_path(&row)),
    })
}

const PATH_FILTERS: &[&str] = &[
    "destination",
    "destination-ip",
    "destination-port",
    "protocol",
    "source",
    "source-ip",
];

fn path_values(row: &PathRow, name: &str) -> Vec<String> {
    match name {
        "destination" => optional(row.destination.as_deref()),
        "destination-ip" => optional(row.destination_ip),
        "destination-port" => optional(row.destination_port),
        "protocol" => vec![row.protocol.clone()],
        "source" => vec![row.source.clone()],
        _ => optional(row.source_ip),
    }
}

pub fn describe_paths(
    context: &Context,
    request: DescribeNetworkInsightsPathsRequest,
) -> Result<DescribeNetworkInsightsPathsResult, ApiError> {
    let query = query!(request, network_insights_path_ids, filters);
    let snapshot = context.snapshot();
    let (found, next_token) = rows::<PathRow, NetworkInsightsPathId>(
        context,
        &snapshot,
        query,
        PATH_FILTERS,
        |row| &row.tags,
        path_values,
    )?;
    Ok(DescribeNetworkInsightsPathsResult {
        network_insights_paths: Some(found.iter().map(|row| render_path(row)).collect()),
        next_token,
    })
}

pub fn delete_path(
    context: &Context,
    request: DeleteNetworkInsightsPathRequest,
) -> Result<DeleteNetworkInsightsPathResult, ApiError> {
    let id = ids::parse(&request.network_insights_path_id)?;
    write(context, request.dry_run, |tx| {
        insights::delete_path(tx, &context.scope(), &id)
    })?;
    Ok(DeleteNetworkInsightsPathResult {
        network_insights_path_id: Some(id.to_string()),
    })
}

/// `running` until the host has found something out.
fn status_name(snapshot: &Snapshot, row: &AnalysisRow) -> &'static str {
    match insights::finding(snapshot, row) {
        None => "running",
        Some(finding) if finding.path_found.is_some() => "succeeded",
        Some(_) => "failed",
    }
}

fn render_analysis(snapshot: &Snapshot, row: &AnalysisRow) -> NetworkInsightsAnalysis {
    let finding = insights::finding(snapshot, row);
    let hops = |hops: &[PathHop]| {
        Some(findings::hops(snapshot, &row.scope, hops)).filter(|list| !list.is_empty())
    };
    NetworkInsightsAnalysis {
        explanations: finding
            .map(|f| findings::explanations(snapshot, &row.scope, &f.explanations))
            .filter(|list| !list.is_empty()),
        forward_path_components: finding.and_then(|f| hops(&f.forward)),
        network_insights_analysis_arn: insights::end_arn(&row.scope, row.analysis_id.as_str()),
        network_insights_analysis_id: Some(row.analysis_id.to_string()),
        network_insights_path_id: Some(row.path_id.to_string()),
        network_path_found: finding.and_then(|f| f.path_found),
        return_path_components: finding.and_then(|f| hops(&f.back)),
        start_date: Some(row.started_at),
        status: Some(status_name(snapshot, row).to_owned()),
        status_message: finding.and_then(|f| f.message.clone()),
        tags: tags::render(&row.tags),
        ..NetworkInsightsAnalysis::default()
    }
}

pub fn start_analysis(
    context: &Context,
    request: StartNetworkInsightsAnalysisRequest,
) -> Result<StartNetworkInsightsAnalysisResult, ApiError> {
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    not_offered(
        given(&request.filter_in_arns),
        "An analysis of paths through given resources",
    )?;
    not_offered(
        given(&request.filter_out_arns),
        "An analysis of paths around given resources",
    )?;
    not_offered(
        given(&request.additional_accounts),
        "An analysis across accounts",
    )?;
    let path_id = ids::parse(&request.network_insights_path_id)?;
    let tags = tags::specified(request.tag_specifications, "network-insights-analysis")?;
    let token = Some(request.client_token.as_str()).filter(|token| !token.is_empty());
    let row = write(context, request.dry_run, |tx| {
        insights::start(tx, &context.scope(), &path_id, token, tags.clone())
    })?;
    Ok(StartNetworkInsightsAnalysisResult {
        network_insights_analysis: Some(render_analysis(&context.snapshot(), &row)),
    })
}

const ANALYSIS_FILTERS: &[&str] = &["path-found", "status"];

pub fn describe_analyses(
    context: &Context,
    request: DescribeNetworkInsightsAnalysesRequest,
) -> Result<DescribeNetworkInsightsAnalysesResult, ApiError> {
    let path_id: Option<NetworkInsightsPathId> = request
        .network_insights_path_id
        .as_deref()
        .map(ids::parse)
        .transpose()?;
    let (from, to) = (request.analysis_start_time, request.analysis_end_time);
    let query = query!(request, network_insights_analysis_ids, filters);
    let snapshot = context.snapshot();
    let values = |row: &AnalysisRow, name: &str| match name {
        "status" => vec![status_name(&snapshot, row).to_owned()],
        _ => optional(insights::finding(&snapshot, row).and_then(|finding| finding.path_found)),
    };
    let (mut found, next_token) = rows::<AnalysisRow, NetworkInsightsAnalysisId>(
        context,
        &snapshot,
        query,
        ANALYSIS_FILTERS,
        |row| &row.tags,
        values,
    )?;
    found.retain(|row| {
        path_id.as_ref().is_none_or(|id| row.path_id == *id)
            && from.is_none_or(|from| row.started_at >= from)
            && to.is_none_or(|to| row.started_at <= to)
    });
    Ok(DescribeNetworkInsightsAnalysesResult {
        network_insights_analyses: Some(
            found
                .iter()
                .map(|row| render_analysis(&snapshot, row))
                .collect(),
        ),
        next_token,
    })
}

pub fn delete_analysis(
    context: &Context,
    request: DeleteNetworkInsightsAnalysisRequest,
) -> Result<DeleteNetworkInsightsAnalysisResult, ApiError> {
    let id = ids::parse(&request.network_insights_analysis_id)?;
    write(context, request.dry_run, |tx| {
        insights::delete_analysis(tx, &context.scope(), &id)
    })?;
    Ok(DeleteNetworkInsightsAnalysisResult {
        network_insights_analysis_id: Some(id.to_string()),
    })
}
