//! DescribeAlarmHistory.

use super::page;
use crate::api::{ApiError, Context};
use fogbank_types::alarm::AlarmHistoryItem;
use fogbank_wire::cloudwatch as wire;

const PAGE: usize = 100;

pub fn describe(
    context: &Context,
    request: wire::DescribeAlarmHistoryInput,
) -> Result<wire::DescribeAlarmHistoryOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let wanted = |item: &&AlarmHistoryItem| {
        request
            .alarm_name
            .as_ref()
            .is_none_or(|name| *name == item.alarm_name)
            && request
                .alarm_types
                .as_ref()
                .is_none_or(|types| types.contains(&item.alarm_type))
            && request
                .history_item_type
                .as_ref()
                .is_none_or(|kind| kind == item.kind.as_str())
            && request.start_date.is_none_or(|start| item.at >= start)
            && request.end_date.is_none_or(|end| item.at <= end)
    };
    let items = snapshot.alarm_history.in_scope(&scope).map(|item| &**item);
    let mut found: Vec<&AlarmHistoryItem> = items.filter(wanted).collect();
    found.sort_by_key(|item| (item.at, item.number));
    if request.scan_by.as_deref() != Some("TimestampAscending") {
        found.reverse();
    }
    let limit = request.max_records.map_or(PAGE, |most| most as usize);
    let (found, next_token) = page(found, request.next_token.as_deref(), limit)?;
    Ok(wire::DescribeAlarmHistoryOutput {
        alarm_history_items: Some(found.into_iter().map(show).collect()),
        next_token,
    })
}

fn show(item: &AlarmHistoryItem) -> wire::AlarmHistoryItem {
    wire::AlarmHistoryItem {
        alarm_name: Some(item.alarm_name.clone()),
        alarm_type: Some(item.alarm_type.clone()),
        history_data: Some(item.data.clone()),
        history_item_type: Some(item.kind.as_str().to_owned()),
        history_summary: Some(item.summary.clone()),
        timestamp: Some(item.at),
        ..wire::AlarmHistoryItem::default()
    }
}
