//! Pages of a list. A marker is the ARN of the last row of the page before.

use crate::api::ApiError;
use crate::model::elb::invalid;

const PAGE: usize = 400;

/// The page after the marker, and the marker for the next one. `rows` stand in the order of their keys.
pub fn cut<T>(
    rows: Vec<T>,
    key: impl Fn(&T) -> &str,
    marker: Option<&str>,
    size: Option<i32>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let size = match size.map(usize::try_from) {
        None => PAGE,
        Some(Ok(size @ 1..=PAGE)) => size,
        Some(_) => return Err(invalid("Page size must be between 1 and 400 inclusive").into()),
    };
    let start = match marker {
        None => 0,
        Some(marker) => match rows.iter().position(|row| key(row) == marker) {
            Some(last) => last + 1,
            None => return Err(invalid(format!("Marker '{marker}' is not valid")).into()),
        },
    };
    let more = rows.len() > start + size;
    let page: Vec<T> = rows.into_iter().skip(start).take(size).collect();
    let next = page.last().filter(|_| more).map(|row| key(row).to_owned());
    Ok((page, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_any_size_give_every_row_once() {
        let rows: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        for size in 1..=8 {
            let (mut seen, mut marker) = (Vec::new(), None);
            loop {
                let (page, next) = cut(rows.clone(), |r| r, marker.as_deref(), Some(size)).unwrap();
                seen.extend(page);
                marker = next;
                if marker.is_none() {
                    break;
                }
            }
            assert_eq!(seen, rows);
        }
    }

    #[test]
    fn bad_markers_and_sizes_are_refused() {
        let rows = || vec!["a".to_owned()];
        assert!(cut(rows(), |r| r, Some("b"), None).is_err());
        assert!(cut(rows(), |r| r, None, Some(0)).is_err());
        assert!(cut(rows(), |r| r, None, Some(401)).is_err());
        assert!(cut(rows(), |r| r, None, Some(-1)).is_err());
    }
}
