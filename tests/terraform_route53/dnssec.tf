data "aws_caller_identity" "this" {}

data "aws_iam_policy_document" "signing" {
  statement {
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.this.account_id}:root"]
    }
  }
  statement {
    actions   = ["kms:DescribeKey", "kms:GetPublicKey", "kms:Sign"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["dnssec-route53.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:route53:::hostedzone/*"]
    }
  }
  statement {
    actions   = ["kms:CreateGrant"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["dnssec-route53.amazonaws.com"]
    }
    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}

resource "aws_kms_key" "signing" {
  count                    = 2
  customer_master_key_spec = "ECC_NIST_P256"
  key_usage                = "SIGN_VERIFY"
  deletion_window_in_days  = 7
  policy                   = data.aws_iam_policy_document.signing.json
}

resource "aws_route53_zone" "signed" {
  name = "signed.test"
}

resource "aws_route53_key_signing_key" "first" {
  hosted_zone_id             = aws_route53_zone.signed.id
  key_management_service_arn = aws_kms_key.signing[0].arn
  name                       = "first"
}

resource "aws_route53_key_signing_key" "second" {
  hosted_zone_id             = aws_route53_zone.signed.id
  key_management_service_arn = aws_kms_key.signing[1].arn
  name                       = "second"
  status                     = var.changed ? "INACTIVE" : "ACTIVE"
}

resource "aws_route53_hosted_zone_dnssec" "signed" {
  hosted_zone_id = aws_route53_key_signing_key.first.hosted_zone_id
  signing_status = var.changed ? "NOT_SIGNING" : "SIGNING"
}
