resource "aws_iam_openid_connect_provider" "builds" {
  url             = "https://token.builds.example.com"
  client_id_list  = var.changed ? ["sts.amazonaws.com", "builds"] : ["sts.amazonaws.com"]
  thumbprint_list = [var.changed ? "ffffffffffffffffffffffffffffffffffffffff" : "1b511abead59c6ce207077c0bf0e0043b1382612"]
  tags            = { Name = var.changed ? "changed" : "builds" }
}

# A role for the builds of one repository.
resource "aws_iam_role" "builds" {
  name = "builds"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = aws_iam_openid_connect_provider.builds.arn }
      Condition = { StringEquals = { "token.builds.example.com:sub" = "repo:shop/api" } }
    }]
  })
}
