data "aws_caller_identity" "this" {}

resource "aws_secretsmanager_secret" "database" {
  name                    = "shop/database"
  description             = var.changed ? "The shop's database" : "A database"
  recovery_window_in_days = 0
  tags                    = var.changed ? { team = "data" } : { team = "shop", stage = "test" }
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id     = aws_secretsmanager_secret.database.id
  secret_string = jsonencode({ username = "shop", password = var.changed ? "second" : "first" })
}

resource "aws_secretsmanager_secret" "key" {
  name_prefix             = "shop/key-"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "key" {
  secret_id      = aws_secretsmanager_secret.key.id
  secret_binary  = base64encode("binary")
  version_stages = var.changed ? ["AWSCURRENT", "LIVE"] : ["AWSCURRENT"]
}

# A secret with a policy of its own, set with it and by its own resource.
resource "aws_secretsmanager_secret" "guarded" {
  name                    = "shop/guarded"
  recovery_window_in_days = 0
  policy                  = var.changed ? data.aws_iam_policy_document.reads.json : null
}

resource "aws_secretsmanager_secret_policy" "key" {
  secret_arn = aws_secretsmanager_secret.key.arn
  policy     = data.aws_iam_policy_document.reads.json
}

data "aws_iam_policy_document" "reads" {
  statement {
    actions   = var.changed ? ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"] : ["secretsmanager:GetSecretValue"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.this.account_id}:root"]
    }
  }
}

data "aws_secretsmanager_secret" "database" {
  name       = aws_secretsmanager_secret.database.name
  depends_on = [aws_secretsmanager_secret_version.database]
}

data "aws_secretsmanager_secret_version" "database" {
  secret_id  = aws_secretsmanager_secret.database.id
  depends_on = [aws_secretsmanager_secret_version.database]
}

data "aws_secretsmanager_random_password" "this" {
  password_length     = 20
  exclude_punctuation = true
}

output "password" {
  value     = jsondecode(data.aws_secretsmanager_secret_version.database.secret_string).password
  sensitive = true
}
