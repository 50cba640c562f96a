resource "aws_iam_group" "readers" {
  name = var.changed ? "readers-new" : "readers"
  path = var.changed ? "/team/" : "/"
}

resource "aws_iam_group" "writers" {
  name = "writers"
}

# This resource takes all of a group's members for its own, so nobody else adds some.
resource "aws_iam_group" "owners" {
  name = "owners"
}

resource "aws_iam_group_membership" "owners" {
  name  = "owners"
  group = aws_iam_group.owners.name
  users = var.changed ? [aws_iam_user.renamed.name] : [aws_iam_user.renamed.name, aws_iam_user.this["ann"].name]
}

resource "aws_iam_group_policy" "logs" {
  name   = "logs"
  group  = aws_iam_group.readers.name
  policy = data.aws_iam_policy_document.logs.json
}

resource "aws_iam_group_policy_attachment" "readers" {
  group      = aws_iam_group.readers.name
  policy_arn = var.changed ? aws_iam_policy.logs.arn : "arn:aws:iam::aws:policy/ReadOnlyAccess"
}

data "aws_iam_group" "readers" {
  group_name = aws_iam_group.readers.name
  depends_on = [aws_iam_user_group_membership.bob]
}

output "readers" {
  value = [for user in data.aws_iam_group.readers.users : user.user_name]
}
