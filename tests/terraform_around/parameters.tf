resource "aws_ssm_parameter" "plain" {
  name        = "/shop/api/level"
  type        = "String"
  value       = var.changed ? "debug" : "info"
  description = var.changed ? "How much the API says" : null
  tags        = var.changed ? { team = "shop", stage = "test" } : { team = "shop" }
}

resource "aws_ssm_parameter" "list" {
  name            = "/shop/api/origins"
  type            = "StringList"
  value           = var.changed ? "a.test,b.test,c.test" : "a.test,b.test"
  allowed_pattern = "^[a-z.,]+$"
}

resource "aws_ssm_parameter" "secret" {
  name  = "/shop/api/password"
  type  = "SecureString"
  value = var.changed ? "correct horse" : "battery staple"
  # From Advanced back to Standard would be another parameter.
  tier = var.changed ? "Advanced" : "Standard"
}

resource "aws_ssm_parameter" "insecure" {
  name           = "image"
  type           = "String"
  insecure_value = var.changed ? "ami-2" : "ami-1"
  data_type      = "text"
}

resource "aws_ssm_parameter" "moved" {
  name  = var.changed ? "/shop/new" : "/shop/old"
  type  = "String"
  value = "x"
  tier  = "Intelligent-Tiering"
}

data "aws_ssm_parameter" "secret" {
  name       = aws_ssm_parameter.secret.name
  depends_on = [aws_ssm_parameter.secret]
}

data "aws_ssm_parameters_by_path" "api" {
  path       = "/shop"
  recursive  = true
  depends_on = [aws_ssm_parameter.plain, aws_ssm_parameter.list, aws_ssm_parameter.secret, aws_ssm_parameter.moved]
}

output "parameters" {
  value = nonsensitive(zipmap(data.aws_ssm_parameters_by_path.api.names, data.aws_ssm_parameters_by_path.api.values))
}
