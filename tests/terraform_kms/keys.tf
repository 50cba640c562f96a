data "aws_caller_identity" "this" {}

resource "aws_kms_key" "shop" {
  description             = var.changed ? "The shop's key" : "A key"
  deletion_window_in_days = var.changed ? 10 : 7
  enable_key_rotation     = true
  rotation_period_in_days = var.changed ? 180 : 90
  policy                  = var.changed ? data.aws_iam_policy_document.key.json : null
  tags                    = var.changed ? { team = "data" } : { team = "shop", stage = "test" }
}

resource "aws_kms_key" "plain" {
  deletion_window_in_days = 7
  is_enabled              = !var.changed
}

resource "aws_kms_key_policy" "plain" {
  key_id = aws_kms_key.plain.id
  policy = data.aws_iam_policy_document.key.json
}

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "all"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.this.account_id}:root"]
    }
  }
}

resource "aws_kms_alias" "shop" {
  name          = "alias/shop"
  target_key_id = var.changed ? aws_kms_key.second.arn : aws_kms_key.shop.key_id
}

resource "aws_kms_alias" "prefixed" {
  name_prefix   = "alias/shop-"
  target_key_id = aws_kms_key.shop.arn
}

resource "aws_kms_key" "second" {
  deletion_window_in_days = 7
}

resource "aws_iam_role" "api" {
  name = "api"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" } }]
  })
}

resource "aws_kms_grant" "api" {
  name              = "api"
  key_id            = aws_kms_key.second.key_id
  grantee_principal = aws_iam_role.api.arn
  operations        = var.changed ? ["Decrypt"] : ["Encrypt", "Decrypt", "GenerateDataKey"]
  constraints {
    encryption_context_equals = { tenant = "a" }
  }
}

# What is encrypted with them.
resource "aws_ssm_parameter" "secret" {
  name   = "/shop/secret"
  type   = "SecureString"
  value  = "battery staple"
  key_id = var.changed ? aws_kms_key.second.arn : aws_kms_alias.prefixed.name
}

resource "aws_secretsmanager_secret" "secret" {
  name                    = "shop/secret"
  kms_key_id              = var.changed ? aws_kms_key.second.arn : aws_kms_key.shop.arn
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "secret" {
  secret_id     = aws_secretsmanager_secret.secret.id
  secret_string = "battery staple"
}

resource "aws_kms_ciphertext" "password" {
  key_id    = aws_kms_key.second.key_id
  plaintext = "battery staple"
  context   = { tenant = "a" }
}

data "aws_kms_alias" "ssm" {
  name = "alias/aws/ssm"
}

data "aws_kms_key" "shop" {
  key_id = aws_kms_alias.prefixed.arn
}

data "aws_kms_secrets" "password" {
  secret {
    name    = "password"
    payload = aws_kms_ciphertext.password.ciphertext_blob
    context = { tenant = "a" }
  }
}

output "password" {
  value     = data.aws_kms_secrets.password.plaintext["password"]
  sensitive = true
}

output "keys" {
  value = [data.aws_kms_alias.ssm.target_key_arn, data.aws_kms_key.shop.arn]
}

resource "aws_cloudwatch_log_group" "sealed" {
  name       = "/sealed"
  kms_key_id = var.changed ? aws_kms_key.second.arn : aws_kms_key.shop.arn
}
