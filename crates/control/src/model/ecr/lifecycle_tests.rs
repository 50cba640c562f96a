use super::*;
use fogbank_types::Scope;
use proptest::prelude::*;
use serde_json::json;

const DAY_MS: u64 = 86_400_000;
const NOW_DAYS: i64 = 1_000;

/// An image of that age with these tags; its name is its digest.
fn image(name: &str, age_days: i64, tags: &[&str]) -> Arc<Image> {
    Arc::new(Image {
        scope: Scope::new("000000000000", "us-east-1"),
        repository: "api".to_owned(),
        digest: name.to_owned(),
        media_type: String::new(),
        size: 1,
        image_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        blobs: Vec::new(),
        manifests: Vec::new(),
        pushed_at: Timestamp((NOW_DAYS - age_days) * DAY_MS as i64),
    })
}

fn rule(priority: u32, selection: Value) -> Value {
    json!({"rulePriority": priority, "selection": selection, "action": {"type": "expire"}})
}

fn policy(rules: &[Value]) -> String {
    json!({ "rules": rules }).to_string()
}

fn expired(rules: &[Value], images: &[Arc<Image>]) -> Vec<(String, u64)> {
    let rules = read(&policy(rules)).unwrap();
    let now = Timestamp(NOW_DAYS * DAY_MS as i64);
    expiring(&rules, images, now, DAY_MS)
        .into_iter()
        .map(|one| (one.digest, one.rule_priority))
        .collect()
}

fn names(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter()
        .map(|(name, rule)| ((*name).to_owned(), *rule))
        .collect()
}

#[test]
fn images_older_than_the_days_expire() {
    let rules = [rule(
        1,
        json!({"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}),
    )];
    let images = [
        image("old", 14, &[]),
        image("young", 13, &[]),
        image("tagged", 99, &["a"]),
    ];
    assert_eq!(expired(&rules, &images), names(&[("old", 1)]));
}

#[test]
fn more_than_so_many_expire_oldest_first() {
    let rules = [rule(
        1,
        json!({"tagStatus": "tagged", "tagPrefixList": ["prod"], "countType": "imageCountMoreThan", "countNumber": 1}),
    )];
    let images = [
        image("a", 3, &["prod-1"]),
        image("b", 2, &["prod-2"]),
        image("c", 1, &["prod-3"]),
        image("d", 9, &["beta"]),
    ];
    assert_eq!(expired(&rules, &images), names(&[("a", 1), ("b", 1)]));
}

/// "An image that matches the tagging requirements of a rule cannot be expired by a rule with a lower priority."
#[test]
fn a_rule_protects_what_it_selects_from_those_behind_it() {
    let rules = [
        rule(
            1,
            json!({"tagStatus": "tagged", "tagPatternList": ["prod*"], "countType": "imageCountMoreThan", "countNumber": 2}),
        ),
        rule(
            2,
            json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}),
        ),
    ];
    let images = [
        image("a", 4, &["prod-1"]),
        image("b", 3, &["prod-2"]),
        image("c", 2, &["beta"]),
        image("d", 1, &[]),
    ];
    // The second rule selects all four and would take a, b and c; only c is its own.
    assert_eq!(expired(&rules, &images), names(&[("c", 2)]));
}

#[test]
fn all_patterns_of_a_rule_must_be_matched() {
    let rules = [rule(
        1,
        json!({"tagStatus": "tagged", "tagPatternList": ["alpha*", "beta*"], "countType": "sinceImagePushed",
               "countUnit": "days", "countNumber": 1}),
    )];
    let images = [
        image("both", 5, &["alpha1", "beta1"]),
        image("one", 5, &["alpha2"]),
    ];
    assert_eq!(expired(&rules, &images), names(&[("both", 1)]));
}

#[test]
fn what_an_index_names_stays_until_the_index_is_gone() {
    let rules = [rule(
        1,
        json!({"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1}),
    )];
    let mut index = Image::clone(&image("index", 9, &["latest"]));
    index.manifests = vec!["amd64".to_owned()];
    let part = image("amd64", 9, &[]);
    assert_eq!(
        expired(&rules, &[Arc::new(index), part.clone()]),
        names(&[])
    );
    assert_eq!(expired(&rules, &[part]), names(&[("amd64", 1)]));
}

#[test]
fn a_policy_must_make_sense() {
    let good = json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5});
    assert_eq!(read(&policy(&[rule(1, good.clone())])).unwrap().len(), 1);
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        read(&policy(&[rule(1, changed)])).unwrap_err()
    };
    assert_eq!(
        read("[]").unwrap_err(),
        "Could not map policyString into LifecyclePolicy."
    );
    assert_eq!(
        read("{}").unwrap_err(),
        "object has missing required properties ([\"rules\"])"
    );
    assert!(
        with("tagStatus", json!("some")).starts_with("instance value (some) not found in enum")
    );
    assert!(with("countNumber", json!(0)).ends_with("(minimum: 1, found: 0)"));
    assert!(with("countNumber", json!("5")).starts_with("instance type"));
    assert!(with("countType", json!("x")).ends_with("(matched 0 out of 2)"));
    assert!(with("countUnit", json!("weeks")).starts_with("instance value (weeks)"));
    assert!(with("color", json!("red")).ends_with("schema: ([\"color\"])"));
    assert!(with("tagPrefixList", json!(["a"])).contains("if and only if"));
    let twice = [rule(1, good.clone()), rule(1, good.clone())];
    assert_eq!(
        read(&policy(&twice)).unwrap_err(),
        "Duplicate rule priority 1"
    );
    let tagged = json!({"tagStatus": "tagged", "tagPatternList": ["a*b*c*d*e*"], "countType": "imageCountMoreThan", "countNumber": 5});
    assert!(
        read(&policy(&[rule(1, tagged.clone())]))
            .unwrap_err()
            .contains("more than 4 wildcards")
    );
    let mut fine = tagged;
    fine["tagPatternList"] = json!(["a*"]);
    let any_first = [rule(1, good), rule(2, fine)];
    assert!(
        read(&policy(&any_first))
            .unwrap_err()
            .contains("highest rulePriority")
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = read(&text);
    }

    /// What is left over after one evaluation is not expired by the next.
    #[test]
    fn an_evaluation_leaves_nothing_to_the_next(ages in prop::collection::vec((0i64..40, 0usize..4), 0..20), most in 1u32..6, days in 1u32..30) {
        let tags: [&[&str]; 4] = [&[], &["prod-1"], &["beta"], &["prod-2", "beta"]];
        let images: Vec<_> = ages
            .iter()
            .enumerate()
            .map(|(index, (age, kind))| image(&format!("{index:02}"), *age, tags[*kind]))
            .collect();
        let rules = [
            rule(1, json!({"tagStatus": "tagged", "tagPatternList": ["prod*"], "countType": "imageCountMoreThan", "countNumber": most})),
            rule(2, json!({"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days})),
            rule(3, json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 3})),
        ];
        let first = expired(&rules, &images);
        let kept: Vec<_> = images
            .iter()
            .filter(|image| !first.iter().any(|(digest, _)| *digest == image.digest))
            .cloned()
            .collect();
        prop_assert_eq!(expired(&rules, &kept), names(&[]));
    }
}
