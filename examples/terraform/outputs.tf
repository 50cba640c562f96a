output "repository_url" {
  value = aws_ecr_repository.api.repository_url
}

output "load_balancer_name" {
  value = aws_lb.main.dns_name
}

output "name" {
  value = aws_route53_record.api.fqdn
}
