resource "aws_iam_user" "this" {
  for_each             = toset(["ann", "bob"])
  name                 = each.key
  path                 = var.changed ? "/team/" : "/"
  permissions_boundary = aws_iam_policy.boundary[var.changed ? "narrow" : "wide"].arn
  tags                 = { Name = var.changed ? "${each.key} changed" : each.key }
}

# Keeps its id under another name, and its tags: the provider sends tags to the new name before it is there.
resource "aws_iam_user" "renamed" {
  name                 = var.changed ? "carol-new" : "carol"
  permissions_boundary = var.changed ? null : aws_iam_policy.boundary["wide"].arn
  tags                 = { Team = "new" }
}

resource "aws_iam_access_key" "ann" {
  user   = aws_iam_user.this["ann"].name
  status = var.changed ? "Inactive" : "Active"
}

resource "aws_iam_access_key" "second" {
  user = aws_iam_user.this["ann"].name
}

resource "aws_iam_user_policy" "logs" {
  name   = "logs"
  user   = aws_iam_user.this["ann"].name
  policy = data.aws_iam_policy_document.logs.json
}

resource "aws_iam_user_policy" "prefixed" {
  name_prefix = "more-"
  user        = aws_iam_user.this["ann"].name
  policy      = data.aws_iam_policy_document.logs.json
}

resource "aws_iam_user_policy_attachment" "ann" {
  user       = aws_iam_user.this["ann"].name
  policy_arn = var.changed ? "arn:aws:iam::aws:policy/ReadOnlyAccess" : aws_iam_policy.logs.arn
}

resource "aws_iam_user_policies_exclusive" "bob" {
  user_name    = aws_iam_user.this["bob"].name
  policy_names = []
}

resource "aws_iam_user_group_membership" "bob" {
  user   = aws_iam_user.this["bob"].name
  groups = var.changed ? [aws_iam_group.readers.name] : [aws_iam_group.readers.name, aws_iam_group.writers.name]
}

data "aws_iam_user" "ann" {
  user_name  = aws_iam_user.this["ann"].name
  depends_on = [aws_iam_user.this]
}

data "aws_iam_users" "all" {
  depends_on = [aws_iam_user.this, aws_iam_user.renamed]
}

data "aws_iam_access_keys" "ann" {
  user       = aws_iam_user.this["ann"].name
  depends_on = [aws_iam_access_key.ann, aws_iam_access_key.second]
}

output "access_key" {
  value = aws_iam_access_key.ann.id
}

output "secret" {
  value     = aws_iam_access_key.second.secret
  sensitive = true
}

output "second_access_key" {
  value = aws_iam_access_key.second.id
}

output "ann" {
  value = data.aws_iam_user.ann.arn
}

output "keys" {
  value = length(data.aws_iam_access_keys.ann.access_keys)
}

output "users" {
  value = data.aws_iam_users.all.names
}

resource "aws_iam_account_password_policy" "this" {
  minimum_password_length      = var.changed ? 14 : 8
  require_symbols              = true
  require_numbers              = var.changed
  require_uppercase_characters = true
  max_password_age             = var.changed ? 90 : 0
  password_reuse_prevention    = var.changed ? 5 : null
}
