resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.this.id
  service_name    = "com.amazonaws.us-east-1.s3"
  route_table_ids = [aws_route_table.this.id]
  tags            = { Name = var.changed ? "layers" : "s3" }
}

resource "aws_route_table" "second" {
  vpc_id = aws_vpc.this.id
}

resource "aws_vpc_endpoint_route_table_association" "second" {
  vpc_endpoint_id = aws_vpc_endpoint.dynamodb.id
  route_table_id  = aws_route_table.second.id
}

resource "aws_vpc_endpoint" "dynamodb" {
  vpc_id       = aws_vpc.this.id
  service_name = "com.amazonaws.us-east-1.dynamodb"
  lifecycle {
    ignore_changes = [route_table_ids]
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = toset(["ecr.api", "ecr.dkr", "logs"])
  vpc_id              = aws_vpc.this.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.us-east-1.${each.key}"
  subnet_ids          = var.changed ? [aws_subnet.this["a"].id] : [for s in aws_subnet.this : s.id]
  security_group_ids  = [aws_security_group.this.id]
  private_dns_enabled = true
  tags                = { Name = each.key }
}

resource "aws_vpc_endpoint" "sts" {
  vpc_id            = aws_vpc.this.id
  vpc_endpoint_type = "Interface"
  service_name      = "com.amazonaws.us-east-1.sts"
  lifecycle {
    ignore_changes = [subnet_ids, security_group_ids, policy]
  }
}

resource "aws_vpc_endpoint_subnet_association" "sts" {
  vpc_endpoint_id = aws_vpc_endpoint.sts.id
  subnet_id       = aws_subnet.this["b"].id
}

resource "aws_vpc_endpoint_security_group_association" "sts" {
  vpc_endpoint_id   = aws_vpc_endpoint.sts.id
  security_group_id = aws_security_group.this.id
}

resource "aws_vpc_endpoint_policy" "sts" {
  vpc_endpoint_id = aws_vpc_endpoint.sts.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = "*", Action = var.changed ? "sts:GetCallerIdentity" : "sts:*", Resource = "*" }]
  })
}

resource "aws_cloudwatch_log_group" "flow" {
  name = "/vpc/flow"
}

resource "aws_iam_role" "flow" {
  name = "flow-logs"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "vpc-flow-logs.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_flow_log" "vpc" {
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "ALL"
  log_destination          = aws_cloudwatch_log_group.flow.arn
  iam_role_arn             = aws_iam_role.flow.arn
  max_aggregation_interval = 60
  tags                     = { Name = var.changed ? "all" : "flow" }
}

resource "aws_flow_log" "subnet" {
  subnet_id       = aws_subnet.this["a"].id
  traffic_type    = var.changed ? "ACCEPT" : "REJECT"
  log_destination = aws_cloudwatch_log_group.flow.arn
  iam_role_arn    = aws_iam_role.flow.arn
  log_format      = "$${interface-id} $${srcaddr} $${dstaddr} $${action} $${flow-direction}"
}

resource "aws_flow_log" "interface" {
  eni_id          = aws_network_interface.this.id
  traffic_type    = "ALL"
  log_destination = aws_cloudwatch_log_group.flow.arn
  iam_role_arn    = aws_iam_role.flow.arn
}

resource "aws_ec2_network_insights_path" "this" {
  source           = aws_network_interface.this.id
  destination      = aws_network_interface.bare.id
  protocol         = "tcp"
  destination_port = 443
  tags             = { Name = var.changed ? "why" : "path" }
}

resource "aws_ec2_network_insights_analysis" "this" {
  network_insights_path_id = aws_ec2_network_insights_path.this.id
  wait_for_completion      = true
}

resource "aws_eip" "named" {
  domain = "vpc"
}
