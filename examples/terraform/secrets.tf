resource "aws_kms_key" "main" {
  description             = "${var.name}: secrets"
  deletion_window_in_days = 7
  enable_key_rotation     = true
}

resource "aws_kms_alias" "main" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.main.key_id
}

resource "aws_secretsmanager_secret" "database" {
  name                    = "${var.name}/database"
  kms_key_id              = aws_kms_key.main.arn
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id     = aws_secretsmanager_secret.database.id
  secret_string = jsonencode({ user = "orders", password = var.database_password })
}

resource "aws_ssm_parameter" "log_level" {
  name   = "/${var.name}/log-level"
  type   = "SecureString"
  key_id = aws_kms_key.main.arn
  value  = var.log_level
}

# The agent that starts a task reads what it hands to the containers.
resource "aws_iam_role_policy" "secrets" {
  name = "secrets"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = aws_secretsmanager_secret.database.arn },
      { Effect = "Allow", Action = "ssm:GetParameters", Resource = aws_ssm_parameter.log_level.arn },
      { Effect = "Allow", Action = "kms:Decrypt", Resource = aws_kms_key.main.arn },
    ]
  })
}
