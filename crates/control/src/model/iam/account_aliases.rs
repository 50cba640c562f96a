//! Other names of accounts: one at most each, no two accounts the same.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/console_account-alias.html>

use super::Refusal;
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::iam::AccountAlias;
use std::sync::Arc;

/// Takes the place of the one before.
pub fn create(tx: &mut Tx, scope: &Scope, alias: String) -> Result<(), Refusal> {
    let is_same = |known: &Arc<AccountAlias>| known.alias == alias;
    if tx.snapshot().account_aliases.all().any(is_same) {
        return Err(Refusal::EntityAlreadyExists(format!(
            "The account alias {alias} already exists."
        )));
    }
    tx.put(AccountAlias {
        scope: scope.clone(),
        alias,
        created_at: tx.now(),
    });
    Ok(())
}

pub fn delete(tx: &mut Tx, scope: &Scope, alias: &str) -> Result<(), Refusal> {
    let known = tx.snapshot().account_aliases.get(scope, "this");
    if known.is_none_or(|known| known.alias != alias) {
        return Err(Refusal::NoSuchEntity(format!(
            "The account alias with name {alias} cannot be found."
        )));
    }
    tx.delete::<AccountAlias>(scope, "this");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_one_alias_that_nobody_else_has() {
        let mut tx = Tx::for_test();
        let [one, two] = ["000000000000", "111111111111"].map(|a| Scope::new(a, "global"));
        create(&mut tx, &one, "shop".to_owned()).unwrap();
        let taken = create(&mut tx, &two, "shop".to_owned());
        assert!(matches!(taken, Err(Refusal::EntityAlreadyExists(_))));
        create(&mut tx, &one, "store".to_owned()).unwrap();
        create(&mut tx, &two, "shop".to_owned()).unwrap();
        let old = delete(&mut tx, &one, "shop");
        assert!(matches!(old, Err(Refusal::NoSuchEntity(_))));
        delete(&mut tx, &one, "store").unwrap();
        assert_eq!(tx.snapshot().account_aliases.len(), 1);
    }
}
