data "aws_caller_identity" "this" {}

data "aws_iam_policy_document" "logs" {
  statement {
    actions   = var.changed ? ["logs:PutLogEvents", "logs:CreateLogStream"] : ["logs:PutLogEvents"]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "ecs" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_policy" "logs" {
  name        = "logs"
  path        = "/team/"
  description = "Writes logs"
  policy      = data.aws_iam_policy_document.logs.json
  tags        = { Name = var.changed ? "logs changed" : "logs" }
}

resource "aws_iam_policy" "boundary" {
  for_each = toset(["narrow", "wide"])
  name     = "boundary-${each.key}"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = each.key == "wide" ? "*" : "logs:*", Resource = "*" }]
  })
}

# To identities of each kind at once; its read is ListEntitiesForPolicy.
resource "aws_iam_policy" "everybody" {
  name   = "everybody"
  policy = data.aws_iam_policy_document.logs.json
}

resource "aws_iam_policy_attachment" "everybody" {
  name       = "everybody"
  policy_arn = aws_iam_policy.everybody.arn
  users      = var.changed ? [aws_iam_user.this["ann"].name] : [for user in aws_iam_user.this : user.name]
  roles      = [aws_iam_role.task.name]
  groups     = var.changed ? [] : [aws_iam_group.writers.name]
}

resource "aws_iam_account_alias" "this" {
  account_alias = var.changed ? "shop-two" : "shop"
}

output "account" {
  value = data.aws_caller_identity.this.account_id
}
