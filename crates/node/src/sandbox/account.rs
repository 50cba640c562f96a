//! Users of a container: numbers, or names looked up in the image's own `/etc/passwd` and `/etc/group`.

/// Who a container's program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// Resolves `user[:group]` as Docker does: a name must be in the files, a number need not; without a group the user's own
/// and all groups that list it.
pub fn resolve(user: &str, passwd: &str, group: &str) -> Result<Account, String> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let line = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| {
            fields.len() >= 4 && (fields[0] == user || (id(user).is_some() && fields[2] == user))
        });
    let (uid, mut gid, name, home) = match &line {
        Some(fields) => (
            id(fields[2])
                .ok_or_else(|| format!("the passwd file has no valid id for user {user}"))?,
            id(fields[3]).unwrap_or(0),
            Some(fields[0]),
            fields
                .get(5)
                .filter(|home| !home.is_empty())
                .map_or("/", |home| *home),
        ),
        None => {
            let uid = id(user).ok_or_else(|| {
                format!("unable to find user {user}: no matching entries in passwd file")
            })?;
            (uid, 0, None, "/")
        }
    };
    let mut groups = Vec::new();
    let mut wanted_gid = wanted_group.and_then(id);
    for fields in group
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
    {
        let [group_name, _, number, members] = fields.as_slice() else {
            continue;
        };
        let Some(number) = id(number) else { continue };
        if wanted_group == Some(*group_name) {
            wanted_gid = Some(number);
        }
        if wanted_group.is_none()
            && name.is_some_and(|name| members.split(',').any(|member| member == name))
        {
            groups.push(number);
        }
    }
    if let Some(wanted) = wanted_group.filter(|wanted| !wanted.is_empty()) {
        gid = wanted_gid.ok_or_else(|| {
            format!("unable to find group {wanted}: no matching entries in group file")
        })?;
    }
    groups.retain(|group| *group != gid);
    groups.insert(0, gid);
    Ok(Account {
        uid,
        gid,
        groups,
        home: home.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\nodd:x:-1:1::/:/x\nshort\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\nweb:x:33:www,app\n";

    fn found(user: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        resolve(user, PASSWD, GROUP).map(|a| (a.uid, a.gid, a.groups, a.home))
    }

    #[test]
    fn names_and_numbers_resolve() {
        assert_eq!(found("").unwrap(), (0, 0, vec![0], "/root".into()));
        assert_eq!(
            found("app").unwrap(),
            (1000, 1001, vec![1001, 33], "/home/app".into())
        );
        assert_eq!(
            found("1000").unwrap(),
            (1000, 1001, vec![1001, 33], "/home/app".into())
        );
        assert_eq!(
            found("app:web").unwrap(),
            (1000, 33, vec![33], "/home/app".into())
        );
        assert_eq!(found("4242").unwrap(), (4242, 0, vec![0], "/".into()));
        assert_eq!(
            found("4242:4343").unwrap(),
            (4242, 4343, vec![4343], "/".into())
        );
        assert_eq!(resolve("0", "", "").unwrap().uid, 0);
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(
            found("nobody")
                .unwrap_err()
                .contains("unable to find user nobody")
        );
        assert!(
            found("app:nogroup")
                .unwrap_err()
                .contains("unable to find group nogroup")
        );
        assert!(found("odd").is_err());
        assert!(found("-1").is_err() && found("4294967295").is_err());
    }
}
